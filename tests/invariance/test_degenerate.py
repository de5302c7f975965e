"""What the search for environments and masks does where there is nothing to find, and in single precision."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import (
    ASSIGNMENTS,
    METHODS,
    PENALTIES,
    EnvironmentSettings,
    FrozenRecommender,
    Interactions,
    MaskSettings,
    ParetoSettings,
    SoftmaxLoss,
    environment_terms,
    generate_mask,
    identify_environments,
    mean_risk_gradients,
)
from recbole_painvrl.invariance.mask import PATIENCE
from tests.invariance.pretrained import Study
from tests.invariance.test_penalty import COLUMNS, WIDTH, losses, rows, tables

WHOLE = MaskSettings(batch_size=None, n_candidates=None, steps=12)


def source() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def finite(result: object) -> bool:
    return all(torch.isfinite(getattr(result, name)).all() for name in ("mask", "projection"))


def without_features(frozen: FrozenRecommender) -> FrozenRecommender:
    return replace(frozen, features=torch.zeros_like(frozen.features))


@pytest.mark.parametrize("penalty", ["gv", "vrex"])
def test_without_features_the_mask_stays_where_it_was(small: Study, penalty: str) -> None:
    """Both gradients are zero, which is stationary: half-open gates, after as many steps as patience asks for."""
    settings = replace(WHOLE, penalty=penalty)
    frozen = without_features(small.frozen)
    found = generate_mask(frozen, small.interactions, small.labels, SoftmaxLoss(), source(), settings)
    assert found.mask.tolist() == [0.5] * len(found.mask)
    assert finite(found)
    assert len(found.history) == PATIENCE
    assert all(math.isfinite(row["erm"]) and math.isnan(row["cosine"]) for row in found.history)
    assert {row["stationarity"] for row in found.history} == {0.0}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", ["mgda", "fixed"])
def test_environments_that_are_the_same_leave_the_mask_finite(small: Study, penalty: str, solver: str) -> None:
    """Each interaction is in both: what tells environments apart is exactly nothing."""
    pairs = small.interactions
    twice = Interactions(pairs.users.repeat(2), pairs.items.repeat(2))
    labels = torch.arange(2).repeat_interleave(len(pairs))
    settings = replace(WHOLE, penalty=penalty, pareto=ParetoSettings(solver=solver))
    found = generate_mask(small.frozen, twice, labels, SoftmaxLoss(), source(), settings)
    assert finite(found)
    if penalty != "irmv1":  # which asks of each environment by itself
        assert all(row["irm"] < 1e-8 for row in found.history)


def test_an_environment_of_one_interaction_is_enough(small: Study) -> None:
    labels = torch.zeros_like(small.labels)
    labels[0] = 1
    found = generate_mask(small.frozen, small.interactions, labels, SoftmaxLoss(), source(), WHOLE)
    assert finite(found)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_mask_that_closes_entirely_ends_there(small: Study, penalty: str) -> None:
    """Gates that are clipped have no gradient: with no noise to open one again the search stands still."""
    settings = replace(WHOLE, penalty=penalty, learning_rate=10.0, sigma=0.0, steps=40)
    found = generate_mask(small.frozen, small.interactions, small.labels, SoftmaxLoss(), source(), settings)
    assert finite(found)
    assert set(found.mask.tolist()) <= {0.0, 1.0}
    assert len(found.history) < settings.steps


@pytest.mark.parametrize("assign", ASSIGNMENTS)
@pytest.mark.parametrize("method", METHODS)
def test_without_features_environments_are_still_environments(small: Study, assign: str, method: str) -> None:
    settings = EnvironmentSettings(n_environments=3, method=method, assign=assign, max_iter=2, fit_steps=3)
    frozen = without_features(small.frozen)
    found = identify_environments(frozen, small.interactions, small.projection, source(), None, settings)
    sizes = torch.bincount(found.labels, minlength=3)
    assert sizes.sum() == len(small.interactions) and (sizes > 0).all()
    assert torch.isfinite(found.projections).all()


def converted(frozen: FrozenRecommender, dtype: torch.dtype) -> FrozenRecommender:
    present = {field.name: getattr(frozen, field.name) for field in fields(frozen)}
    return FrozenRecommender(**{name: None if one is None else one.to(dtype) for name, one in present.items()})


def measures(dtype: torch.dtype, name: str, penalty: str) -> dict[str, Tensor]:
    """Losses, penalty and the mask's gradients, computed in a precision from tables drawn in single."""
    frozen, batch = converted(tables(torch.float32), dtype), rows(dtype)
    projection = torch.randn(WIDTH, COLUMNS, generator=torch.Generator().manual_seed(1)).to(dtype)
    mask = torch.rand(COLUMNS, generator=torch.Generator().manual_seed(2)).to(dtype).requires_grad_()
    terms = environment_terms(frozen.folded(), batch, projection * mask, losses(dtype)[name])
    value = PENALTIES[penalty](terms, mask)
    (on_mask,) = torch.autograd.grad(value, mask, retain_graph=True)
    risk_on_mask, _ = mean_risk_gradients(terms, projection, mask)
    found = {"losses": terms.losses, "penalty": value[None], "mask": on_mask, "risk by mask": risk_on_mask}
    return {key: one.detach().double() for key, one in found.items()}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ["ultragcn", "softmax", "bpr"])
def test_single_precision_is_double_within_stated_tolerances(name: str, penalty: str) -> None:
    """Losses to 1e-6 of their size, the penalty and both gradients by the mask to 1e-5 of theirs."""
    single, double = (measures(dtype, name, penalty) for dtype in (torch.float32, torch.float64))
    tolerances = {"losses": 1e-6, "penalty": 1e-5, "mask": 1e-5, "risk by mask": 1e-5}
    for key, tolerance in tolerances.items():
        error = float((single[key] - double[key]).norm() / double[key].norm())
        assert error <= tolerance, (key, error)

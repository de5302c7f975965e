from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import (
    PENALTIES,
    BPRLoss,
    Interactions,
    MaskResult,
    MaskSettings,
    PairLoss,
    ParetoSettings,
    SoftmaxLoss,
    UltraGCNLoss,
    gradient_variance,
)
from recbole_painvrl.invariance import generate_mask as generate
from recbole_painvrl.invariance.penalty import Penalty
from tests.invariance.pretrained import Study, study
from tests.planted import area_under_curve

QUICK = MaskSettings(batch_size=256, n_candidates=64, steps=60)
FULL = MaskSettings()  # what the package ships


def mask_of(
    study: Study, labels: Tensor | None = None, loss: PairLoss | None = None, settings: MaskSettings = QUICK
) -> MaskResult:
    """The mask found on the study's data with its true labels, or with other ones."""
    labels = study.labels if labels is None else labels
    source = torch.Generator().manual_seed(1)
    return generate(study.frozen, study.interactions, labels, loss or SoftmaxLoss(), source, settings)


def permuted(labels: Tensor) -> Tensor:
    """The labels dealt out at random."""
    return labels[torch.randperm(labels.shape[0], generator=torch.Generator().manual_seed(5))]


def recovered(study: Study, result: MaskResult) -> tuple[float, float, float]:
    """Mean mask of the invariant columns and of the spurious ones, and the area under the curve."""
    mask, truth = result.mask.numpy(), study.planted.all_truth
    return float(mask[truth == 1].mean()), float(mask[truth == 0].mean()), area_under_curve(mask, truth)


def assert_recovers(study: Study, loss: PairLoss) -> None:
    """The true labels separate the columns, and permuted labels do so far less."""
    invariant, spurious, curve = recovered(study, mask_of(study, loss=loss, settings=FULL))
    assert invariant >= 0.8 and spurious <= 0.1 and curve >= 0.95
    _, _, by_chance = recovered(study, mask_of(study, permuted(study.labels), loss, FULL))
    assert curve - by_chance >= 0.15


def test_true_environments_recover_the_invariant_columns(recovery: Study) -> None:
    assert_recovers(recovery, SoftmaxLoss())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["softmax", "ultragcn", "bpr"])
def test_true_environments_recover_the_invariant_columns_on_every_seed(seed: int, name: str) -> None:
    planted = study("R1", seed)
    rows, tables = planted.interactions, planted.frozen
    sizes = (tables.user_id.shape[0], tables.item_id.shape[0])
    ultragcn = UltraGCNLoss.from_interactions(rows.users, rows.items, *sizes)
    assert_recovers(planted, {"softmax": SoftmaxLoss(), "ultragcn": ultragcn, "bpr": BPRLoss()}[name])


def test_the_mask_of_small_batches_is_that_of_full_ones(recovery: Study) -> None:
    """Within 0.05 at 256 interactions of 4,800 and 64 of 500 items, where the noise in the penalty misleads."""
    everything = replace(FULL, batch_size=None, n_candidates=None)
    full = mask_of(recovery, settings=everything).mask
    difference = {}
    for estimate in ("unbiased", "batch"):
        small = replace(FULL, batch_size=256, n_candidates=64, estimate=estimate)
        difference[estimate] = float((mask_of(recovery, settings=small).mask - full).abs().mean())
    assert difference["unbiased"] <= 0.05
    assert difference["unbiased"] < difference["batch"]


def times(factor: float) -> Penalty:
    """The gradient variance in other units."""
    return Penalty(lambda terms: factor**0.5 * gradient_variance.contrasts(terms), by_column=True)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scale_of_the_penalty_does_not_change_the_mask(
    small: Study, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = mask_of(small).mask
    monkeypatch.setitem(PENALTIES, "gv", times(factor))
    torch.testing.assert_close(mask_of(small).mask, plain, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("users", "features"), [(10.0, 1.0), (1.0, 0.01)])
def test_scale_of_the_tables_does_not_change_the_mask(small: Study, users: float, features: float) -> None:
    plain = mask_of(small)
    scaled = replace(
        small.frozen, user_feature=users * small.frozen.user_feature, features=features * small.frozen.features
    )
    other = mask_of(replace(small, frozen=scaled))
    torch.testing.assert_close(other.mask, plain.mask, rtol=0, atol=2e-2)
    assert float((users * features * other.projection).norm() / plain.projection.norm()) == pytest.approx(1, rel=0.05)


def test_ablations_are_bounds(small: Study) -> None:
    risk_alone = mask_of(small, settings=replace(QUICK, pareto=ParetoSettings(bounds=(0, 1))))
    penalty_alone = mask_of(small, settings=replace(QUICK, pareto=ParetoSettings(bounds=(1, 0))))
    fixed = mask_of(small, settings=replace(QUICK, pareto=ParetoSettings(solver="fixed", irm_weight=0.0)))
    assert float(risk_alone.mask.mean()) > 0.9
    assert float(penalty_alone.mask.mean()) < 0.1
    assert float(fixed.mask.mean()) > 0.9
    assert {row["weight"] for row in penalty_alone.history} == {1.0}


@pytest.mark.parametrize("penalty", list(PENALTIES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mask_is_repeatable_in_range_and_of_the_tables_type(small: Study, penalty: str, dtype: torch.dtype) -> None:
    frozen = replace(
        small.frozen,
        **{name: getattr(small.frozen, name).to(dtype) for name in ("user_id", "user_feature", "item_id", "features")},
    )
    settings = replace(QUICK, penalty=penalty, steps=5)
    one, two = (mask_of(replace(small, frozen=frozen), settings=settings) for _ in range(2))
    assert torch.equal(one.mask, two.mask) and torch.equal(one.projection, two.projection)
    assert one.mask.dtype == one.projection.dtype == dtype
    assert ((one.mask >= 0) & (one.mask <= 1)).all()
    assert one.history == two.history


def test_callback_sees_every_step(small: Study) -> None:
    seen: list[dict[str, float]] = []
    source = torch.Generator().manual_seed(1)
    settings = replace(QUICK, steps=3)
    result = generate(small.frozen, small.interactions, small.labels, BPRLoss(), source, settings, seen.append)
    assert seen == result.history
    assert [row["step"] for row in seen] == [1, 2, 3]
    names = "step erm irm weight stationarity cosine norm angle factor mask_mean"
    assert set(seen[0]) == set(names.split())


def test_environments_without_rows_are_left_out(small: Study) -> None:
    settings = replace(QUICK, steps=3)
    gaps = mask_of(small, 5 * small.labels, settings=settings)
    torch.testing.assert_close(gaps.mask, mask_of(small, settings=settings).mask)


def test_search_ends_when_the_mask_stands_still(small: Study) -> None:
    still = replace(QUICK, learning_rate=1e-6, steps=200)
    assert len(mask_of(small, settings=still).history) == 20


def test_one_environment_is_refused(small: Study) -> None:
    with pytest.raises(ValueError, match="at least 2 environments with rows, but got 1"):
        mask_of(small, torch.zeros_like(small.labels))


def test_unknown_penalty_is_refused() -> None:
    with pytest.raises(ValueError, match="but got 'gvr'"):
        MaskSettings(penalty="gvr")


def test_degrees_make_the_weights_of_ultragcn() -> None:
    rows = Interactions(torch.tensor([1, 1, 2]), torch.tensor([1, 2, 2]))
    loss = UltraGCNLoss.from_interactions(rows.users, rows.items, 4, 3)
    torch.testing.assert_close(loss.user_factor, torch.tensor([1.0, 3**0.5 / 2, 2**0.5, 1.0]))
    torch.testing.assert_close(loss.item_factor, torch.tensor([1.0, 2**-0.5, 3**-0.5]))

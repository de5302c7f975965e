"""The common direction and mask generation, against autograd, NumPy or SciPy on tables of five users."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import (
    Interactions,
    MaskSettings,
    ParetoSettings,
    SoftmaxLoss,
    generate_mask,
    mask,
    pareto_step,
)
from recbole_painvrl.invariance import frozen as frozen_tables
from recbole_painvrl.invariance.estimate import RunningSquare
from recbole_painvrl.invariance.frozen import score_unit
from recbole_painvrl.invariance.losses import EnvironmentBatch
from recbole_painvrl.invariance.pareto import normalizer
from recbole_painvrl.invariance.sampling import EnvironmentSampler, draw_candidates
from tests.invariance.known import ITEMS, LABELS, USERS, dense_scores, tables


@pytest.mark.parametrize("kind", ["loss", "loss+", "none"])
def test_the_least_norm_is_that_of_the_normalized_gradients(kind: str) -> None:
    first, second, losses = torch.tensor([1.0, 0.5]), torch.tensor([-3.0, 4.0]), (2.0, 5.0)
    divisors = {"loss": losses, "loss+": (2 * math.hypot(1, 0.5), 5 * 5.0), "none": (1.0, 1.0)}[kind]
    found = pareto_step(first, second, losses, ParetoSettings(normalize=kind))
    ends = [gradient.double() / by for gradient, by in zip((first, second), divisors, strict=True)]
    shares = torch.linspace(0, 1, 100_001, dtype=torch.float64)[:, None]
    lengths = (shares * ends[0] + (1 - shares) * ends[1]).square().sum(dim=1)
    assert found.weight == pytest.approx(float(shares[lengths.argmin()]), abs=2e-5)
    assert 0 < found.weight < 1
    assert found.norm == pytest.approx(float(lengths.min()), rel=1e-4)


def test_nothing_is_divided_by_zero() -> None:
    assert [normalizer(kind, 0.0, 0.0) for kind in ("l2", "loss", "loss+", "none")] == [1.0] * 4
    assert [normalizer(kind, 3.0, 2.0) for kind in ("l2", "loss", "loss+", "none")] == [3.0, 2.0, 6.0, 1.0]


def test_a_decay_that_cannot_be_used_is_told_with_the_settings() -> None:
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\)"):
        MaskSettings(smoothing=1.5)


def mask_search(**settings: Any) -> mask._Search:
    """A search of a mask on single-precision tables, all rows and candidates a step."""
    whole = {"batch_size": None, "n_candidates": None, "sigma": 0.0} | settings
    source = torch.Generator().manual_seed(2)
    pairs = Interactions(USERS, ITEMS)
    return mask._Search(tables(torch.float32), pairs, LABELS, SoftmaxLoss(), source, MaskSettings(**whole), None)


@pytest.mark.parametrize(
    ("places", "ends"),
    [
        ([0.5] * mask.WINDOW, False),  # too early to tell
        ([0.9, *[0.5] * (mask.WINDOW - 1), 0.6], False),  # moved, to the last one
        ([0.5, *[0.7] * (mask.WINDOW - 1), 0.5], True),  # there again after a window, whatever lies between
        ([0.9, 0.5, *[0.6] * (mask.WINDOW - 1), 0.5], True),  # what was before the window does not count
        ([0.5, *[0.5] * (mask.WINDOW - 1), 0.75], False),  # as far as the tolerance is not under it
    ],
)
def test_a_search_ends_when_no_gate_has_moved_over_the_window(places: list[float], ends: bool) -> None:
    search = mask_search(tolerance=0.25 if places[-1] == 0.75 else 1e-3)
    search.masks = [torch.tensor([0.3, place]) for place in places]
    assert search.finished() == ends


def test_a_search_ends_after_its_steps_or_enough_stationary_ones_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    search = mask_search(steps=7, tolerance=0.1)
    found = iter([0.05, 0.1, 0.05, 0.05, 0.5, 0.0, 0.0])
    counts = []

    def step(first: Tensor, *_: object) -> Any:
        return replace(pareto_step(first, first), stationarity=next(found))

    monkeypatch.setattr(mask, "pareto_step", step)
    while not search.finished():
        counts.append((search.step()["step"], search.stationary))
    assert counts == list(zip(range(1, 8), [1, 0, 1, 2, 0, 1, 2], strict=True))
    search.masks, search.stationary = search.masks[:2], mask.PATIENCE - 1
    assert not search.finished()
    search.stationary += 1
    assert search.finished()


@pytest.mark.parametrize("sigma", [0.4, 30.0])
def test_noise_is_added_to_the_gates_position_as_drawn(sigma: float) -> None:
    search = mask_search(sigma=sigma)
    search.mu.copy_(torch.tensor([-0.4, 0.1, 0.3]))
    search.generator.manual_seed(11)
    gate, inside = search._noisy_gate()
    noise = torch.randn(3, generator=torch.Generator().manual_seed(11))
    position = torch.tensor([0.1, 0.6, 0.8]) + sigma * noise
    assert {0.0, 1.0} <= set(gate.tolist()) or sigma < 1
    torch.testing.assert_close(gate, position.clamp(0, 1))
    assert torch.equal(inside, ((position > 0) & (position < 1)).float())


@pytest.mark.parametrize("rows", [None, 0, 2, 3, 4])
@pytest.mark.parametrize("candidates", [None, 0, 1, 4, 5, 6])
def test_only_samples_are_estimated(monkeypatch: pytest.MonkeyPatch, rows: int | None, candidates: int | None) -> None:
    """Three rows an environment and five items; whole ones need no estimate from several batches."""
    asked: list[int | None] = []

    def draw(n_items: int, number: int | None, *others: Any) -> Tensor:
        asked.append(number)
        return draw_candidates(n_items, number, *others)

    monkeypatch.setattr(frozen_tables, "draw_candidates", draw)
    search = mask_search(batch_size=rows, n_candidates=candidates, smoothing=0.7, estimate="average")
    whole = rows != 2 and candidates not in (1, 4)
    assert search.sampler.width == (2 if rows == 2 else 3)
    assert (search.memory.kind, search.memory.decay) == (("batch", 0.0) if whole else ("average", 0.7))
    assert asked == ([] if whole else [candidates])  # an estimate needs a batch before the first step's
    row = search.step()
    assert asked == [candidates] * (1 if whole else 2)
    assert row["mask_mean"] == pytest.approx(float(search.mask().mean()))
    assert search.step()["mask_mean"] == pytest.approx(float(search.mask().mean()))


@pytest.mark.parametrize(
    ("pareto", "ends"),
    [
        (ParetoSettings(), True),
        (ParetoSettings(bounds=(0, 1)), False),
        (ParetoSettings(bounds=(0.2, 0.2)), False),
        (ParetoSettings(solver="fixed", irm_weight=1.0), False),
    ],
    ids=["free", "risk alone", "bounded", "fixed"],
)
def test_opposing_gradients_end_only_a_search_with_free_weights(
    monkeypatch: pytest.MonkeyPatch, pareto: ParetoSettings, ends: bool
) -> None:
    """Under other weights they are on their way to an optimum between the two."""

    def opposed(first: Tensor, second: Tensor, *others: Any) -> Any:
        return replace(pareto_step(first, second, *others), stationarity=0.0)

    monkeypatch.setattr(mask, "pareto_step", opposed)
    search = mask_search(pareto=pareto, steps=mask.PATIENCE + 3)
    while not search.finished():
        search.step()
    assert len(search.masks) - 1 == (mask.PATIENCE if ends else mask.PATIENCE + 4 - 1)


def test_items_out_of_the_competition_are_nobodys_candidates() -> None:
    few = replace(tables(torch.float32), rivals=torch.tensor([1, 2, 4]))
    source = torch.Generator().manual_seed(1)
    drawn = [few.draw_rivals(2, source).tolist() for _ in range(40)]
    assert all(len(set(one)) == 2 for one in drawn) and {*chain(*drawn)} == {1, 2, 4}
    assert few.draw_rivals(None, source).tolist() == few.folded().draw_rivals(3, source).tolist() == [1, 2, 4]
    everything = replace(few, rivals=torch.arange(1, 6))
    for number in (None, 2, 5):
        drawn = [one.draw_rivals(number, torch.Generator().manual_seed(3)).tolist() for one in (everything, tables())]
        assert drawn[0] == drawn[1]


def test_without_a_step_the_projection_is_the_drawn_one_in_units_of_the_scores() -> None:
    frozen, pairs = tables(torch.float32), Interactions(USERS, ITEMS)
    settings = MaskSettings(steps=0, initial_scale=0.2, batch_size=None, n_candidates=None)
    found = generate_mask(frozen, pairs, LABELS, SoftmaxLoss(), torch.Generator().manual_seed(2), settings)
    drawn = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.projection, score_unit(frozen) * 0.2 * drawn)
    assert found.mask.tolist() == [0.5] * 3 and not found.history


def test_no_column_no_mask() -> None:
    empty = replace(tables(), features=torch.zeros(6, 0).double())
    with pytest.raises(ValueError, match=r"^there is no feature column to make a mask of\.$"):
        generate_mask(empty, Interactions(USERS, ITEMS), LABELS, SoftmaxLoss(), torch.Generator())


def test_the_angle_of_two_gradients_whatever_their_lengths() -> None:
    found = pareto_step(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 3.0]))
    assert found.cosine == pytest.approx(math.sqrt(0.5)) and found.angle == pytest.approx(45.0)
    assert found.stationarity == pytest.approx((1 + math.sqrt(0.5)) / 2)
    nothing = pareto_step(torch.zeros(2), torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(nothing.direction, torch.tensor([0.6, 0.8]) * (1 - nothing.weight))
    assert nothing.stationarity == 0 and math.isnan(nothing.cosine) and math.isnan(nothing.angle)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_nearly_equal_gradients_count_exactly_the_same(size: float) -> None:
    first = size * torch.tensor([1.0, 2.0, 3.0])
    assert pareto_step(first, first * (1 + 1e-6)).weight == 0.5
    assert pareto_step(first, first * (1 + 1e-6), settings=ParetoSettings(bounds=(0.7, 0.0))).weight == 0.7


def test_every_step_is_that_of_adam_on_gradients_by_autograd() -> None:
    """Gates along the bisector of penalty and risk; the projection along risk and ridge, in units of the scores."""
    frozen, pairs = tables(), Interactions(USERS, ITEMS)
    settings = MaskSettings(steps=4, sigma=0.0, batch_size=None, n_candidates=None, weight_decay=5.0, initial_scale=0.2)
    found = generate_mask(frozen, pairs, LABELS, SoftmaxLoss(), torch.Generator().manual_seed(2), settings)

    unit, source = score_unit(frozen), torch.Generator().manual_seed(2)
    scaled = replace(frozen, user_feature=unit * frozen.user_feature)
    start = 0.2 * torch.randn(2, 3, generator=source, dtype=torch.float64)
    position, weights = torch.zeros(3, dtype=torch.float64, requires_grad=True), start.requires_grad_()
    optimizer = torch.optim.Adam([position, weights], lr=settings.learning_rate)
    for step in range(4):
        gate = (position + 0.5).clamp(0, 1)
        masked = weights * gate
        scores = dense_scores(scaled, masked)[:, 1:]
        of_rows = torch.logsumexp(scores[USERS], dim=1) - scores[USERS, ITEMS - 1]
        losses = [of_rows[label == LABELS].mean() for label in range(3)]
        gradients = torch.stack([torch.autograd.grad(one, masked, create_graph=True)[0] for one in losses])
        penalty = (gate.square() * (gradients - gradients.mean(dim=0)).square().mean(dim=(0, 1))).sum()
        risk = torch.stack(losses).mean()
        ends = [torch.autograd.grad(one, position, retain_graph=True)[0] for one in (penalty, risk)]
        (on_weights,) = torch.autograd.grad(risk, weights)
        assert found.history[step]["irm"] == pytest.approx(float(penalty.detach()))
        assert found.history[step]["erm"] == pytest.approx(float(risk.detach()))
        position.grad = sum(0.5 * end / end.norm() for end in ends)
        weights.grad = on_weights + 2 * 5.0 / 6 * weights.detach()
        optimizer.step()
    torch.testing.assert_close(found.mask, (position.detach() + 0.5).clamp(0, 1))
    torch.testing.assert_close(found.projection, unit * weights.detach())


def test_groups_have_as_many_gates_as_their_numbers() -> None:
    pairs, source = Interactions(USERS, ITEMS), torch.Generator()
    search = mask._Search(tables(), pairs, LABELS, SoftmaxLoss(), source, MaskSettings(), torch.tensor([1, 0, 1]))
    search.mu.copy_(torch.tensor([0.25, -0.125]))
    assert search.mu.shape == (2,)
    assert search.mask().tolist() == [0.375, 0.75, 0.375]


def test_the_unit_of_a_projection_is_that_of_scores_of_variance_one() -> None:
    """All rows but the padding count."""
    frozen = tables()
    users, features = frozen.user_feature[1:], frozen.features[1:]
    expected = 1 / math.sqrt(float(users.square().mean() * features.square().mean()) * 2 * 3)
    assert score_unit(frozen) == pytest.approx(expected)
    padded = replace(frozen, features=torch.cat([100 * torch.ones(1, 3), features]))
    assert score_unit(padded) == pytest.approx(expected)
    assert score_unit(replace(frozen, features=0 * frozen.features)) == 1.0


def test_squares_are_estimated_without_bias_unless_told_otherwise() -> None:
    assert (RunningSquare().kind, RunningSquare().decay) == ("unbiased", 0.9)
    assert RunningSquare("average", 0.0).decay == 0.0
    with pytest.raises(ValueError, match="above 0 for estimate 'unbiased'"):
        RunningSquare("unbiased", 0.0)


def test_rows_of_very_different_scores_keep_their_losses() -> None:
    positive, negative = torch.tensor([[2000.0, -2000.0]]), torch.tensor([[[2001.0, 1990.0], [-2000.0, -2002.0]]])
    rows = torch.tensor([[1, 1]])
    found = SoftmaxLoss()(positive, negative, EnvironmentBatch(rows, rows, torch.ones(1, 2), torch.tensor([2, 3])))
    expected = [math.log(1 + math.e + math.exp(-10)), math.log(2 + math.exp(-2))]
    torch.testing.assert_close(found.loss, torch.tensor([expected]), rtol=0, atol=1e-3)  # of scores of thousands


def test_an_environment_without_rows_is_named() -> None:
    with pytest.raises(ValueError, match=r"these have none: \[2\]"):
        EnvironmentSampler(torch.tensor([0, 1, 1]), 3, None, torch.Generator())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("user_feature", (5, 2), "users of user_id and user_feature must agree, but got 6 and 5."),
        ("features", (7, 3), "items of item_id and features must agree, but got 6 and 7."),
        ("item_id", (6, 4), "width of user_id and item_id must agree, but got 2 and 4."),
        ("item_scale", (3,), "items of item_scale and features must agree, but got 3 and 6."),
    ],
)
def test_tables_that_do_not_fit_are_named(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        replace(tables(), **{name: torch.zeros(shape)})
    assert str(caught.value) == message

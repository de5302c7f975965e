"""The statistics of heterogeneity on tables small enough to be worked out by autograd or NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import reference_choices
from recbole_painvrl.invariance.heterogeneity import (
    LEAST,
    RIDGE,
    _directions,
    _places,
    center,
    find_heterogeneity,
    sampled_rows,
    whitener,
    whole_users,
)
from recbole_painvrl.invariance.reference_choices import BLOCK, ReferenceChoices, _draw, _levels, pieces, runs
from recbole_painvrl.invariance.sampling import Interactions
from tests.invariance.known import ITEMS, USERS, dense_scores, projection, tables, whole_scores

PAIRS = Interactions(USERS, ITEMS)


def model(judges: list[int]) -> ReferenceChoices:
    return ReferenceChoices(tables(), projection(), torch.tensor(judges))


def by_factors(user: int, item: int, judges: list[int]) -> Tensor:
    """Derivative [D] of the log-likelihood of a choice by factors of the columns, at 1."""
    frozen, factors = tables(), torch.ones(3, dtype=torch.float64, requires_grad=True)
    scores = dense_scores(frozen, projection() * factors)[user]
    total = 5 / len(judges) * scores[judges].exp().sum()
    if item not in judges:
        total = total + scores[item].exp()
    (found,) = torch.autograd.grad(scores[item] - total.log(), factors)
    return found


@pytest.mark.parametrize("block", [1, 30, BLOCK])
@pytest.mark.parametrize("judges", [[1, 2, 3, 4, 5]])
def test_scores_are_derivatives_of_the_log_likelihood(
    monkeypatch: pytest.MonkeyPatch, block: int, judges: list[int]
) -> None:
    monkeypatch.setattr(reference_choices, "BLOCK", block)
    expected = torch.stack([by_factors(int(user), int(item), judges) for user, item in zip(USERS, ITEMS, strict=True)])
    torch.testing.assert_close(whole_scores(model(judges), PAIRS)[0], expected)
    directions = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(model(judges).along(PAIRS, directions), expected @ directions.T)


def test_an_item_that_is_no_judge_counts_for_itself() -> None:
    """Its derivative: (1 - its own share) times its distance from the mean of the judges."""
    judges, found = [2, 3, 5], whole_scores(model([2, 3, 5]), PAIRS)[0]
    for row, (user, item) in enumerate(zip(USERS.tolist(), ITEMS.tolist(), strict=True)):
        frozen, scores = tables(), dense_scores(tables(), projection())[user]
        share, total = scores[judges].softmax(dim=0), 5 / 3 * float(scores[judges].exp().sum())
        own = 0.0 if item in judges else math.exp(scores[item]) / (math.exp(scores[item]) + total)
        away = frozen.features[item] - share @ frozen.features[judges]
        expected = (1 - own) * (frozen.user_feature[user] @ projection()) * away
        torch.testing.assert_close(found[row], expected)


def test_made_up_choices_come_with_the_recommenders_shares() -> None:
    number, judges = 4000, [1, 2, 3, 4, 5]
    found = torch.stack(whole_scores(model(judges), PAIRS, number, torch.Generator().manual_seed(1))[1:])
    assert found.shape == (number, len(USERS), 3)
    for row, user in enumerate(USERS.tolist()):
        possible = torch.stack([by_factors(user, item, judges) for item in judges])
        chosen = torch.cdist(found[:, row], possible).argmin(dim=1)
        torch.testing.assert_close(found[:, row], possible[chosen])
        share = dense_scores(tables(), projection())[user, 1:].softmax(dim=0)
        counts = torch.bincount(chosen, minlength=5).double() / number
        assert float((counts - share).abs().max()) < 0.04  # five standard deviations of a half


def test_columns_are_drawn_with_their_shares_and_never_outside() -> None:
    share = torch.tensor([[0.0, 1.0, 0.0], [0.2, 0.0, 0.2]])  # of any sum
    place = torch.tensor([0, 1])
    drawn = _draw(share, place, _levels(1000, 2, torch.Generator().manual_seed(0)))
    assert drawn[:, 0].unique().tolist() == [1]
    assert drawn[:, 1].unique().tolist() == [0, 2]
    assert 430 < int((drawn[:, 1] == 0).sum()) < 570
    again = _draw(share, place, _levels(1000, 2, torch.Generator().manual_seed(0)))
    assert torch.equal(drawn, again)


def test_users_are_taken_inruns_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_choices, "BLOCK", 10)
    for costs, expected in (
        ([4, 4, 4, 4], [(0, 2), (2, 4)]),
        ([5, 5, 5, 5], [(0, 2), (2, 4)]),  # a block is full with 10
        ([11, 1, 1], [(0, 3)]),
        ([3, 30, 3], [(0, 1), (1, 3)]),
        ([10, 1, 9, 1], [(0, 1), (1, 3), (3, 4)]),
        ([1], [(0, 1)]),
    ):
        assert runs(torch.tensor(costs)) == expected, costs


def test_tables_are_taken_in_pieces_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_choices, "BLOCK", 10)
    assert [(one.start, one.stop) for one in pieces(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert [(one.start, one.stop) for one in pieces(2, 30)] == [(0, 1), (1, 2)]
    assert pieces(0, 3) == [] and len(pieces(5, 0)) == 1


def test_parts_are_of_whole_users_and_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_choices, "BLOCK", 12)
    users = torch.tensor([7, 2, 7, 2, 5, 2, 7, 9])
    units = torch.tensor([0, 1, 0, 2, 3, 2, 4, 5])
    parts = [part.tolist() for part in whole_users(users, units, 3)]
    assert parts == [[1, 3, 5, 4], [0, 2, 6, 7]]
    shared = torch.tensor([0, 1, 0, 2, 3, 2, 1, 5])
    assert [part.tolist() for part in whole_users(users, shared, 3)] == [[1, 3, 5, 4, 0, 2, 6, 7]]


def test_no_numbers_are_drawn_for_no_choices() -> None:
    assert _levels(0, 5, None).shape == (0, 5)


def test_choices_are_made_up_by_a_generator_alone() -> None:
    with pytest.raises(ValueError, match=r"^choices can only be made up by a generator$"):
        whole_scores(model([1, 2]), PAIRS, 1)


def test_centering_takes_off_each_users_mean() -> None:
    scores = torch.tensor([[1.0, 10], [3, 20], [5, 0], [7, -4]])
    found = center(scores.clone(), torch.tensor([9, 9, 2, 9]))
    mean = torch.tensor([11 / 3, 26 / 3])
    expected = torch.stack([scores[0] - mean, scores[1] - mean, torch.zeros(2), scores[3] - mean])
    torch.testing.assert_close(found, expected)


def test_as_many_rows_as_there_may_be_from_the_given_generator() -> None:
    units, state = torch.arange(50).repeat_interleave(3), torch.get_rng_state()
    first, again = (sampled_rows(units, 30, torch.Generator().manual_seed(3)) for _ in range(2))
    assert len(first) == 30 and torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, sampled_rows(units, 30, torch.Generator().manual_seed(4)))


def test_scores_that_overflow_are_told_with_what_mends_it() -> None:
    frozen = tables()
    large = replace(frozen, features=1e200 * frozen.features)
    source = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="scores are too large to compare choices by; normalize the features"):
        find_heterogeneity(large, PAIRS, projection(), USERS - 1, torch.ones(3).double(), 1, None, source)


@pytest.mark.parametrize("most", [1, 4, 9, 29, 30, 31])
def test_whole_units_are_sampled(most: int) -> None:
    units = torch.tensor([5] * 10 + [1] * 3 + [2] * 2 + [8] * 8 + [3] * 7)
    kept = set()
    for seed in range(20):
        rows = sampled_rows(units, most, torch.Generator().manual_seed(seed))
        assert torch.equal(rows, rows.sort().values) and rows.unique().numel() == len(rows) > 0
        chosen = units[rows].unique().tolist()
        assert sum(int((units == unit).sum()) for unit in chosen) == len(rows)
        assert len(rows) <= most or len(chosen) == 1
        if most >= 30:
            assert len(rows) == 30
        kept.add(tuple(chosen))
    assert len(kept) > 1 or most >= 30


def test_the_whitener_makes_a_moment_with_its_ridge_the_identity() -> None:
    draw = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moment = draw.T @ draw
    white, ridge = whitener(moment), RIDGE * moment.diagonal().mean()
    torch.testing.assert_close(white @ (moment + ridge * torch.eye(3)) @ white.T, torch.eye(3).double())
    torch.testing.assert_close(1e-4 * whitener(1e-8 * moment), whitener(moment))
    assert bool(whitener(torch.zeros(2, 2)).isfinite().all())


def test_directions_are_the_eigenvectors_of_the_excess() -> None:
    """One real table and four made-up ones of 12 rows in 4 units; each made-up one is judged by the other three."""
    draw = np.random.default_rng(0)
    numbers, units = draw.normal(size=(5, 12, 3)) * [1.0, 2.0, 0.5], np.repeat([0, 1, 2, 3], [2, 4, 3, 3])
    numbers[0] += 2 * draw.normal(size=(4, 1))[units] * [1.0, 0.0, 0.3]

    def tables(parts: list[list[int]]) -> Iterator[list[tuple[Tensor, Tensor]]]:
        return ([(torch.tensor(rows), torch.tensor(table[rows])) for rows in parts] for table in numbers)

    every_row = torch.tensor(units)
    directions, excess, chance = _directions(tables([list(range(12))]), every_row, 3)
    information = np.mean([table.T @ table for table in numbers[1:]], axis=0)
    ridge = RIDGE * np.diag(information).mean()
    white = np.linalg.inv(np.linalg.cholesky(information + ridge * np.eye(3)))
    moments = []
    for table in numbers:
        sums = np.stack([table[units == unit].sum(axis=0) for unit in range(4)])
        moments.append(white @ sums.T @ sums @ white.T)
    values, vectors = np.linalg.eigh(moments[0] - np.mean(moments[1:], axis=0))
    np.testing.assert_allclose(excess.numpy(), values[::-1])
    expected = (vectors[:, ::-1].T @ white) * math.sqrt(12)
    signs = np.sign((directions.numpy() * expected).sum(axis=1))
    np.testing.assert_allclose(directions.numpy(), expected * signs[:, None], rtol=1e-6)
    made_up = []
    for number in range(1, 5):
        others = [moments[other] for other in range(1, 5) if other != number]
        made_up.append(np.linalg.eigvalsh(moments[number] - np.mean(others, axis=0))[-1])
    assert chance == pytest.approx(max(made_up))
    for one, other in zip(
        (directions, excess),
        _directions(tables([[0, 1, 6, 7, 8], [2, 3, 4, 5, 9, 10, 11]]), every_row, 3),
        strict=False,
    ):
        torch.testing.assert_close(one, other)
    nothing = [[(torch.arange(12), torch.zeros(12, 3))]] * 5
    assert _directions(nothing, every_row, 2)[2] == LEAST


def test_places_of_small_units_are_drawn_to_zero() -> None:
    along = torch.tensor([[1.0], [2.0], [6.0]])
    found = _places(along, torch.tensor([0, 0, 1]), torch.tensor([0.5]))
    spread = 0.5 * 3 / (4 + 1)
    expected = [[3 * spread / (1 + 2 * spread)], [6 * spread / (1 + 1 * spread)]]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert float(_places(along, torch.tensor([0, 0, 1]), torch.tensor([-1.0])).abs().max()) < 1e-5


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_directions_than_asked_for_and_none_along_columns_left_out(most: int) -> None:
    variant = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)
    unit = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3])
    source = torch.Generator().manual_seed(0)
    found = find_heterogeneity(tables(), PAIRS, projection(), unit, variant, most, None, source)
    assert 1 <= len(found.directions) <= most
    assert float(found.directions[:, 1].abs().max()) == 0.0
    assert found.coordinates.shape == (4, len(found.directions))
    assert found.signal == pytest.approx(float(found.excess[0]) / found.chance)
    judged = ReferenceChoices(tables(), projection(), torch.arange(1, 6))
    along = center(judged.along(PAIRS, found.directions), USERS)
    expected = _places(along, unit, found.excess[: len(found.directions)])
    torch.testing.assert_close(found.coordinates, expected)

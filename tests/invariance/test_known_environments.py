"""Families, likelihood, losses and identification, against autograd, NumPy or SciPy on tables of five users."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from recbole_painvrl.invariance import (
    EnvironmentSettings,
    Interactions,
    UltraGCNLoss,
    environments,
    find_heterogeneity,
    heterogeneity,
    identify_environments,
    likelihood,
)
from recbole_painvrl.invariance.families import free_projections, scaled_projections
from recbole_painvrl.invariance.frozen import score_unit
from recbole_painvrl.invariance.partition import clusters, slices
from recbole_painvrl.invariance.sampling import EnvironmentSampler, draw_candidates
from tests.invariance.known import ITEMS, USERS, dense_scores, projection, tables


def test_every_environment_starts_from_the_given_projection() -> None:
    frozen, start = tables(), projection()
    family = free_projections(frozen, start, 3)
    assert family.parameters.shape == (3, 2, 3)
    torch.testing.assert_close(family.projections(), start.expand(3, -1, -1))
    assert score_unit(frozen) != pytest.approx(1.0)
    with torch.no_grad():
        family.parameters[0] += 1.0
    torch.testing.assert_close(family.projections()[0], start + score_unit(frozen))
    torch.testing.assert_close(family.projections()[1], start)


@pytest.mark.parametrize("kind", ["free", "scaled"])
def test_derivatives_by_parameters_are_those_of_autograd(kind: str) -> None:
    axes = torch.randn(2, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    start = projection()
    family = free_projections(tables(), start, 3) if kind == "free" else scaled_projections(start, axes, 3)
    family.parameters.requires_grad_()
    weights = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    (expected,) = torch.autograd.grad((family.projections() * weights).sum(), family.parameters)
    torch.testing.assert_close(family.pull_back(weights), expected)


@pytest.mark.parametrize("block", [1, 7, likelihood.BLOCK])
@pytest.mark.parametrize("chosen", [[1, 2, 3, 4, 5], [4, 1, 5]])
def test_evidence_is_the_log_softmax(monkeypatch: pytest.MonkeyPatch, block: int, chosen: list[int]) -> None:
    """Of a sample of candidates, each counts for several items, and an item that is none of them counts for itself."""
    monkeypatch.setattr(likelihood, "BLOCK", block)
    frozen, pairs, candidates = tables(), Interactions(USERS, ITEMS), torch.tensor(chosen)
    projections = torch.stack([projection(), 2 * projection() - 0.3])
    found = likelihood.row_evidence(frozen, pairs, projections, candidates, likelihood=True)
    plain = likelihood.row_evidence(frozen, pairs, projections, candidates, likelihood=False)
    assert found.shape == plain.shape == (2, 9)
    for environment, weights in enumerate(projections):
        scores = dense_scores(frozen, weights)
        for row, (user, item) in enumerate(zip(USERS.tolist(), ITEMS.tolist(), strict=True)):
            own = float(scores[user, item])
            total = 5 / len(chosen) * float(scores[user, candidates].exp().sum())
            total += 0.0 if item in chosen else math.exp(own)
            assert float(plain[environment, row]) == pytest.approx(own)
            assert float(found[environment, row]) == pytest.approx(own - math.log(total))


def test_factors_of_ultragcn_are_those_of_degrees() -> None:
    """Users 1 and 2 have two interactions and one, user 3 none; item 2 two, item 1 one, item 3 none."""
    pairs = torch.tensor([1, 1, 2]), torch.tensor([1, 2, 2])
    found = UltraGCNLoss.from_interactions(*pairs, 4, 5, (1.0, 2.0, 3.0, 4.0), 7.0, torch.float64)
    users, items = torch.tensor([0, 2, 1, 0]).double(), torch.tensor([0, 1, 2, 0, 0]).double()
    torch.testing.assert_close(found.user_factor, (users + 1).sqrt() / users.clamp(min=1))
    torch.testing.assert_close(found.item_factor, 1 / (items + 1).sqrt())
    assert (found.constants, found.negative_weight) == ((1.0, 2.0, 3.0, 4.0), 7.0)
    assert found.user_factor.dtype == found.item_factor.dtype == torch.float64
    plain = UltraGCNLoss.from_interactions(*pairs, 4, 5)
    assert (plain.constants, plain.negative_weight, plain.user_factor.dtype) == ((1.0,) * 4, 1.0, torch.float32)


@pytest.mark.parametrize(("rows", "drawn_items"), [(None, None), (2, 3)])
def test_projections_follow_adam_on_their_members(rows: int | None, drawn_items: int | None) -> None:
    """One round of clustering is that many steps of Adam on members' mean loss plus a ridge, drawn in this order."""
    pairs = Interactions(USERS, ITEMS)
    settings = EnvironmentSettings(
        n_environments=2,
        method="clustering",
        max_iter=1,
        fit_steps=4,
        ridge=3.0,
        batch_size=rows,
        n_candidates=drawn_items,
        n_judges=4,
    )
    source = torch.Generator().manual_seed(8)
    found = identify_environments(tables(), pairs, projection(), source, settings=settings)

    source, frozen = torch.Generator().manual_seed(8), tables()
    labels = torch.randperm(9, generator=source) % 2
    judges = draw_candidates(5, 4, source, labels.device)
    unit = score_unit(frozen)
    parameters = (projection() / unit).expand(2, -1, -1).clone().requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=settings.learning_rate)
    sampler = EnvironmentSampler(labels, 2, rows, source)
    for _ in range(4):
        candidates = draw_candidates(5, drawn_items, source, labels.device)
        batch = sampler.batch(pairs, candidates, torch.float64)
        loss = torch.zeros((), dtype=torch.float64)
        for environment in range(2):
            scores = dense_scores(frozen, unit * parameters[environment])
            loss = loss + 3.0 * parameters[environment].square().mean()
            of_rows = zip(batch.users[environment], batch.items[environment], batch.weights[environment], strict=True)
            for user, item, weight in of_rows:
                others = scores[user, candidates[candidates != item]].exp().sum() * 5 / len(candidates)
                loss = loss + weight * ((others + scores[user, item].exp()).log() - scores[user, item])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(found.projections, unit * parameters.detach())
    evidence = likelihood.row_evidence(frozen, pairs, found.projections, judges, likelihood=True)
    assert torch.equal(found.labels, evidence.argmax(dim=0))
    assert found.history[0]["objective"] == pytest.approx(float(evidence.max(dim=0).values.mean()))
    assert found.history[0]["moved"] == pytest.approx(float((found.labels != labels).double().mean()))


@pytest.mark.parametrize(("groups", "most"), [(None, 1), ([0, 0, 1, 1, 2, 2, 3, 3, 4], 3)])
def test_units_of_several_interactions_may_differ_along_several_directions(groups: list[int] | None, most: int) -> None:
    """Single interactions are sliced along one direction; E environments need no more than E - 1."""
    asked = []

    def find(*arguments: object) -> heterogeneity.Heterogeneity:
        asked.append(arguments[5])
        return find_heterogeneity(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environments, "find_heterogeneity", find)
        identify_environments(
            tables(),
            Interactions(USERS, ITEMS),
            projection(),
            torch.Generator().manual_seed(0),
            None if groups is None else torch.tensor(groups),
            EnvironmentSettings(n_environments=4, max_iter=1),
        )
    assert asked == [most]


def search_of(labels: list[int], **settings: Any) -> environments._Search:
    """A search in which single interactions have these labels."""
    start, source = projection(), torch.Generator().manual_seed(0)
    family = free_projections(tables(), start, 3)
    made = environments._Search(
        tables(), Interactions(USERS, ITEMS), family, (torch.arange(9), 9), source, EnvironmentSettings(3, **settings)
    )
    made.labels = torch.tensor(labels)
    return made


@pytest.mark.parametrize(
    ("labels", "min_share", "reseeded"),
    [
        ([0, 0, 1, 1, 2, 2, 2, 2, 2], None, 0),
        ([0, 0, 1, 1, 2, 2, 2, 2, 2], 0.3, 2),
        ([0, 1, 1, 1, 2, 2, 2, 2, 2], None, 0),
        ([1, 1, 1, 1, 2, 2, 2, 2, 2], None, 1),
        ([2, 2, 2, 2, 2, 2, 2, 2, 2], None, 2),
    ],
)
def test_environments_that_are_too_small_get_a_part_of_the_largest(
    labels: list[int], min_share: float | None, reseeded: int
) -> None:
    search = search_of(labels, min_share=min_share)
    search.family.parameters[2] += 1.0
    former = search.family.parameters.clone()
    row = search._settle(torch.tensor(labels), 0.5)
    assert row == {
        "moved": 0.0,
        "objective": 0.5,
        "sizes": search.labels.bincount(minlength=3).tolist(),
        "reseeded": reseeded,
    }
    assert min(row["sizes"]) > 0
    for environment in range(3):
        taken_over = not torch.equal(search.family.parameters[environment], former[environment])
        assert taken_over == (environment != 2 and labels.count(environment) < (9 * min_share if min_share else 1))


@pytest.mark.parametrize(("of_unit", "reseeded"), [([0, 1, 1], 1), ([2, 0, 0], 1), ([1, 1, 1], 2), ([2, 0, 1], 0)])
def test_units_of_many_rows_still_fill_every_environment(of_unit: list[int], reseeded: int) -> None:
    """Three units, of 6, 2 and 1 rows: the largest environment may have too few of them to give a part of itself."""
    unit_of_row = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2])
    family = free_projections(tables(), projection(), 3)
    settings, source = EnvironmentSettings(3), torch.Generator().manual_seed(3)
    search = environments._Search(tables(), Interactions(USERS, ITEMS), family, (unit_of_row, 3), source, settings)
    donor = max(set(of_unit), key=of_unit.count)
    family.parameters[donor] += 1.0
    former = family.parameters.clone()
    row = search._settle(torch.tensor(of_unit))
    assert sorted(search.labels.tolist()) == [0, 1, 2] and min(row["sizes"]) > 0
    assert row["reseeded"] == reseeded
    for environment in {0, 1, 2} - set(of_unit):
        assert torch.equal(family.parameters[environment], former[donor])


def test_single_interactions_stay_in_the_slices_they_start_in() -> None:
    pairs, told = Interactions(USERS, ITEMS), []
    settings = EnvironmentSettings(n_environments=3, max_iter=5, tolerance=0.0)
    found = identify_environments(
        tables(), pairs, projection(), torch.Generator().manual_seed(0), settings=settings, callback=told.append
    )
    places = found.heterogeneity.coordinates
    assert torch.equal(found.labels, slices(places[:, 0], torch.ones(9).double(), 3))
    assert told == found.history and len(told) == 1
    assert (told[0]["iteration"], told[0]["objective"], told[0]["sizes"]) == (1, None, [3, 3, 3])
    torch.testing.assert_close(found.projections, projection().expand(3, -1, -1))


def test_units_of_several_interactions_start_in_clusters_and_move_on() -> None:
    groups = torch.tensor([7, 7, 3, 3, 9, 9, 4, 4, 4])
    arguments = (tables(), Interactions(USERS, ITEMS), projection())
    for rounds in (1, 3):
        settings = EnvironmentSettings(n_environments=2, max_iter=rounds, tolerance=-1.0, fit_steps=2)
        source = torch.Generator().manual_seed(0)
        found = identify_environments(*arguments, source, groups, settings)
        assert [row["objective"] is None for row in found.history] == [True, False, False][:rounds]
        if rounds == 1:
            units = torch.unique(groups, return_inverse=True)[1]
            places = found.heterogeneity.coordinates
            expected = clusters(places, torch.bincount(units).to(places.dtype), 2)
            assert torch.equal(found.labels, expected[units])


def test_a_round_in_which_nothing_moves_is_the_last() -> None:
    settings = EnvironmentSettings(n_environments=2, method="clustering", max_iter=50, fit_steps=1, tolerance=0.0)
    source = torch.Generator().manual_seed(0)
    history = identify_environments(
        tables(), Interactions(USERS, ITEMS), projection(), source, settings=settings
    ).history
    assert [row["moved"] > 0 for row in history] == [True] * (len(history) - 1) + [False]
    assert len(history) < 50


def test_tables_are_folded_once() -> None:
    """A second folding changes nothing: the bias has become a column."""
    whole = replace(tables(), bias=torch.tensor([0.3, -1.0]).double(), item_scale=torch.arange(1.0, 7.0).double())
    once = whole.folded()
    assert once.bias is None and once.item_scale is None
    assert torch.equal(once.folded().user_id, once.user_id)
    expected = whole.item_scale * (dense_scores(tables(), projection()) + (whole.user_feature @ whole.bias)[:, None])
    torch.testing.assert_close(dense_scores(once, projection()), expected)

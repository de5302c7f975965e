"""Controls, groups of columns and clusters, against autograd, NumPy or SciPy on tables of five users."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from recbole_painvrl.invariance import control, correlated_groups, reference_choices
from recbole_painvrl.invariance.control import _disagreements, _order
from recbole_painvrl.invariance.groups import modality_groups
from recbole_painvrl.invariance.heterogeneity import whitener
from recbole_painvrl.invariance.partition import clusters, slices
from recbole_painvrl.invariance.reference_choices import ChoiceScores


def scored(rows: Tensor) -> ChoiceScores:
    """One user's choices that have these scores [n, D]."""
    taste, places = torch.ones_like(rows[:1]), torch.arange(len(rows))
    return ChoiceScores(taste, 0 * taste, 0 * places, rows, [places], torch.ones_like(rows[:, 0]))


@pytest.mark.parametrize(("block", "cells"), [(1, 1), (6, 1000), (1000, 12)])
def test_disagreements_by_hand(monkeypatch: pytest.MonkeyPatch, block: int, cells: int) -> None:
    monkeypatch.setattr(reference_choices, "BLOCK", block)
    monkeypatch.setattr(control, "CELLS", cells)
    rows = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    partitions = [[0, 0, 2, 1, 1, 1, 2, 0], [1, 0, 1, 2, 0, 0, 1, 1]]
    white = (rows @ whitener(rows.T @ rows).T * 8**0.5).numpy()
    expected = []
    for labels in partitions:
        own = [white[np.equal(labels, label)] for label in range(3)]
        away = [len(one) * np.square(one.mean(axis=0) - white.mean(axis=0)).sum() for one in own]
        expected.append(sum(away) / (2 * 2))
    assert _disagreements(scored(rows), torch.tensor(partitions)) == pytest.approx(expected, rel=1e-9)
    alone = _disagreements(scored(rows), torch.zeros(1, 8, dtype=torch.long))
    assert alone == pytest.approx([0.0], abs=1e-12)


def test_two_environments_of_one_column_are_counted_once() -> None:
    """Rows 1, 1 and -2 of square sum 6, 6.6 with the ridge, and means 1 and -2: 3 / 6.6 x (2 x 1 + 1 x 4)."""
    rows = torch.tensor([[1.0], [1.0], [-2.0]], dtype=torch.float64)
    assert _disagreements(scored(rows), torch.tensor([[0, 0, 1]])) == pytest.approx([3 * 6 / 6.6])


def test_orders_are_drawn_from_the_given_generator() -> None:
    labels, state = torch.arange(50), torch.get_rng_state()
    first, again = (_order(labels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first.sort().values, labels) and not torch.equal(first, labels)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_groups", [2, 3, 4])
def test_groups_are_those_of_average_linkage_on_correlations(seed: int, n_groups: int) -> None:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(7, 9)) * draw.uniform(0.1, 10, 9) + draw.uniform(-20, 20, 9)
    features[0] = 1e6  # padding
    distance = 1 - np.abs(np.corrcoef(features[1:].T))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip(distance, 0, 1), checks=False), method="average")
    expected = fcluster(tree, n_groups, criterion="maxclust")
    found = correlated_groups(torch.tensor(features), [(0, 9)], n_groups).numpy()
    assert found.dtype == np.int64 and found.max() == len(set(found.tolist())) - 1
    together = found[:, None] == found[None, :]
    assert np.array_equal(together, expected[:, None] == expected[None, :])


def test_as_many_groups_as_columns_keep_their_order() -> None:
    features = torch.tensor(np.random.default_rng(0).normal(size=(8, 5)))
    assert correlated_groups(features, [(0, 5)], 5).tolist() == [0, 1, 2, 3, 4]
    one = correlated_groups(features, [(0, 5)], 1)
    assert one.tolist() == [0] * 5 and one.dtype == torch.long
    assert modality_groups([(0, 2), (2, 3), (3, 7)]).tolist() == [0, 0, 1, 2, 2, 2, 2]


def weighted_means(places: Tensor, weights: Tensor, labels: Tensor, number: int) -> Tensor:
    own = [labels == label for label in range(number)]
    return torch.stack([(weights[one, None] * places[one]).sum(0) / weights[one].sum() for one in own])


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_clusters_end_where_every_point_is_nearest_to_its_own_weighted_mean(scale: float) -> None:
    source = torch.Generator().manual_seed(0)
    places = torch.randn(60, 2, generator=source, dtype=torch.float64)
    weights = scale * torch.randint(1, 30, (60,), generator=source).double()
    labels = clusters(places, weights, 4, rounds=200)
    means = weighted_means(places, weights, labels, 4)
    assert torch.equal(torch.cdist(places, means).argmin(dim=1), labels)
    assert labels.unique().numel() == 4


def test_one_round_of_clusters_is_one_assignment_to_the_slices_means() -> None:
    source = torch.Generator().manual_seed(1)
    places = torch.randn(40, 2, generator=source)
    weights = torch.randint(1, 30, (40,), generator=source).float()
    start = slices(places[:, 0], weights, 3)
    expected = torch.cdist(places, weighted_means(places, weights, start, 3)).argmin(dim=1)
    assert not torch.equal(expected, start)
    assert torch.equal(clusters(places, weights, 3, rounds=1), expected)

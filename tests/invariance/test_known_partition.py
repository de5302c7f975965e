"""Controls, groups of columns and clusters, against autograd, NumPy or SciPy on tables of five users."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from recbole_painvrl.invariance import correlated_groups
from recbole_painvrl.invariance.control import _disagreement, _order
from recbole_painvrl.invariance.groups import modality_groups
from recbole_painvrl.invariance.partition import clusters, slices


@pytest.mark.parametrize("sizes", [[2, 1, 3, 1, 1], [1, 1, 1, 1, 1]])
def test_disagreement_by_hand(sizes: list[int]) -> None:
    draw = np.random.default_rng(0)
    rows = [draw.normal(size=(size, 2)) for size in sizes]
    labels = [0, 2, 1, 2, 0]
    sums = torch.tensor(np.stack([one.sum(axis=0) for one in rows]))
    together, whole = np.concatenate(rows), 0.0
    for label in range(3):
        own = np.concatenate([one for one, of in zip(rows, labels, strict=True) if of == label])
        whole += len(own) * np.square(own.mean(axis=0) - together.mean(axis=0)).sum()
    found = _disagreement(sums, torch.tensor(sizes), torch.tensor(labels))
    assert found == pytest.approx(whole / (2 * 2), rel=1e-12)
    alone = _disagreement(sums[:2], torch.tensor(sizes[:2]), torch.zeros(2, dtype=torch.long))
    assert alone == pytest.approx(0.0, abs=1e-12)


def test_two_environments_of_one_column_are_counted_once() -> None:
    """Means 1 and -2 of two rows and one: the common mean is 0, the distance 2 x 1 + 1 x 4."""
    found = _disagreement(torch.tensor([[2.0], [-2.0]]), torch.tensor([2, 1]), torch.tensor([0, 1]))
    assert found == pytest.approx(6.0)


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

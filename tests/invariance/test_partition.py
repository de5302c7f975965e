from __future__ import annotations

import torch

from recbole_painvrl.invariance.partition import clusters, slices


def test_slices_are_equally_heavy() -> None:
    places, weights = torch.tensor([0.3, -1.0, 2.0, 0.1]), torch.tensor([1.0, 1.0, 2.0, 2.0])
    assert slices(places, weights, 3).tolist() == [1, 0, 2, 0]


def test_clusters_need_not_be_equally_heavy() -> None:
    places = torch.tensor([[0.0, 0.0], [0.1, 0.1], [0.2, 0.0], [5.0, 5.0], [9.0, 0.0], [9.1, 0.0]])
    assert clusters(places, torch.ones(6), 3).tolist() == [0, 0, 0, 1, 2, 2]

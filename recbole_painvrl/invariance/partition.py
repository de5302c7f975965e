"""Partitions of weighted points that owe nothing to chance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def slices(places: Tensor, weights: Tensor, number: int) -> Tensor:
    """Returns labels [units]: slices of equal weight along one axis, ``places`` [units]."""
    order = torch.argsort(places, stable=True)
    before = weights[order].cumsum(0) - weights[order]
    labels = torch.empty_like(order)
    labels[order] = (before * number / weights.sum()).long().clamp(0, number - 1)
    return labels


def clusters(places: Tensor, weights: Tensor, number: int, rounds: int = 20) -> Tensor:
    """Returns labels [units] of weighted k-means on ``places`` [units, r], started from slices of the first axis.

    The start makes it free of chance; along a single axis it is close to the end already.
    """
    labels = slices(places[:, 0], weights, number)
    for _ in range(rounds):
        member = one_hot(labels, number).to(places.dtype) * weights[:, None]
        centers = (member.T @ places) / member.sum(dim=0).clamp_min(1e-12)[:, None]
        moved = torch.cdist(places, centers).argmin(dim=1)
        if torch.equal(moved, labels):
            break
        labels = moved
    return labels

"""Symmetric matrices of which half is kept."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_painvrl.invariance.symmetric import Symmetric


@pytest.mark.parametrize("size", [1, 3, 8, 9, 10, 16, 37])
def test_half_of_a_symmetric_matrix_is_enough(size: int) -> None:
    """Only the lower triangle is looked at, and little more than half is kept."""
    draw = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    lower = draw.tril()
    kept = Symmetric.of(draw)
    assert torch.equal(kept.whole().tril(), lower)
    assert torch.equal(Symmetric.of(lower + lower.tril(-1).T).whole(), lower + lower.tril(-1).T)
    assert sum(slab.numel() for slab in kept.slabs) <= (0.5 + 1 / 8) * size**2 + size


@pytest.mark.parametrize("size", [1, 7, 8, 20])
def test_sums_and_turns_of_symmetric_matrices(size: int) -> None:
    draws = torch.randn(3, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first, second, lower = draws[0] + draws[0].T, draws[1] + draws[1].T, draws[2].tril()
    kept = Symmetric.of(first), Symmetric.of(second)
    torch.testing.assert_close(Symmetric.combined((2.0, kept[0]), (-0.5, kept[1])).whole(), 2 * first - second / 2)
    torch.testing.assert_close(kept[0].whole(), first)
    torch.testing.assert_close(kept[0].between(lower).whole(), lower @ first @ lower.T)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_one_number_that_is_none_is_seen(value: float) -> None:
    matrix = torch.eye(20)
    assert Symmetric.of(matrix).is_finite()
    matrix[13, 4] = value
    assert not Symmetric.of(matrix).is_finite()

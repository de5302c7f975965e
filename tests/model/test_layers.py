"""Attention over the two branches: shares, and what it may not decide."""

from __future__ import annotations

import pytest
import torch

from recbole_painvrl.model.layers import BranchAttention


def representations() -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    return torch.randn(9, 5, generator=source), torch.randn(9, 5, generator=source)


def attention(scale: float = 1.0) -> BranchAttention:
    layer = BranchAttention(5)
    with torch.no_grad():
        layer.query.normal_(std=scale, generator=torch.Generator().manual_seed(1))
    return layer


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_shares_sum_to_one(scale: float) -> None:
    share, rest = attention(scale)(*representations())
    assert share.shape == rest.shape == (9, 1)
    assert torch.allclose(share + rest, torch.ones(9, 1))
    assert bool(((share >= 0) & (rest >= 0)).all())


def test_a_query_of_zeros_halves_everything() -> None:
    share, rest = BranchAttention(5)(*representations())
    assert torch.equal(share, torch.full((9, 1), 0.5)) and torch.equal(rest, share)


def test_the_mean_energy_difference_does_not_matter() -> None:
    """A branch whose energy is larger by the same amount for every item gains nothing by it."""
    layer, direction = BranchAttention(5), torch.eye(5)[0]
    with torch.no_grad():
        layer.query.copy_(3 * direction)
    energies, variant = torch.linspace(-0.4, 0.4, 9), torch.zeros(9, 5)
    plain = energies.atanh()[:, None] * direction
    lifted = (energies + 0.5).atanh()[:, None] * direction
    expected = torch.sigmoid(3 * energies)[:, None]
    for branch in (plain, lifted):
        assert torch.allclose(layer(branch, variant)[0], expected, atol=1e-6)


def test_swapping_the_branches_swaps_the_shares() -> None:
    layer, (one, other) = attention(), representations()
    share, rest = layer(one, other)
    swapped, swapped_rest = layer(other, one)
    assert torch.allclose(share, swapped_rest, atol=1e-6) and torch.allclose(rest, swapped, atol=1e-6)


def test_equal_items_get_equal_halves_whatever_the_query() -> None:
    """Where all items are alike, attention has nothing to tell apart."""
    layer = attention(10.0)
    one, other = (part[:1].expand(9, 5) for part in representations())
    assert torch.allclose(layer(one, other)[0], torch.full((9, 1), 0.5), atol=1e-5)

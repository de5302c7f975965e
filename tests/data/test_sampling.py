"""Negatives: uniform, exact rejection, reproducible."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_painvrl.data.items_by_user import ItemsByUser
from recbole_painvrl.data.sampling import UnknownItems, uniform_negatives
from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import generator


def chi_square(counts: torch.Tensor) -> float:
    """Returns the statistic of equal probabilities; its mean is the number of cells less one."""
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_uniform_over_all_items_but_padding() -> None:
    drawn = uniform_negatives(1000, 50, 21, generator(1, "test"))
    assert drawn.shape == (1000, 50) and drawn.dtype == torch.int64
    counts = torch.bincount(drawn.flatten(), minlength=21).double()
    assert counts[0] == 0 and len(counts) == 21
    assert chi_square(counts[1:]) < 45  # 19 degrees of freedom: passed with probability 0.999


def test_rejection_is_exact_and_uniform_over_the_rest() -> None:
    users = torch.tensor([1, 1, 1, 1, 2, 2, 4, 4, 4])
    items = torch.tensor([1, 2, 9, 2, 5, 10, 3, 4, 5])
    sampler = UnknownItems(ItemsByUser(np.unique(users * 11 + items), n_users=5, n_items=11))
    for user, known in {1: {1, 2, 9}, 2: {5, 10}, 3: set(), 4: {3, 4, 5}}.items():
        drawn = sampler.draw(torch.full((400,), user), 50, generator(user, "test"))
        counts = torch.bincount(drawn.flatten(), minlength=11).double()
        allowed = sorted(set(range(1, 11)) - known)
        assert counts.nonzero().flatten().tolist() == allowed
        assert chi_square(counts[allowed]) < 30  # at most 9 degrees of freedom: 0.9995


def test_rejection_agrees_with_a_plain_search_on_random_data() -> None:
    random = generator(0, "pairs")
    users = torch.randint(1, 50, (900,), generator=random)
    items = torch.randint(1, 30, (900,), generator=random)
    sampler = UnknownItems(ItemsByUser(np.unique(users * 40 + items), n_users=50, n_items=40))
    rows = torch.randint(1, 50, (500,), generator=random)
    drawn = sampler.draw(rows, 20, random)
    known = set(zip(users.tolist(), items.tolist(), strict=True))
    pairs = zip(rows.repeat_interleave(20).tolist(), drawn.flatten().tolist(), strict=True)
    assert not any(pair in known for pair in pairs)
    assert drawn.min() >= 1 and drawn.max() <= 39


def test_a_user_who_knows_everything_is_refused() -> None:
    with pytest.raises(UserError, match="user 2 "):
        UnknownItems(ItemsByUser(np.array([9, 10, 11]), n_users=3, n_items=4))


def test_pairs_come_back_as_they_were_given() -> None:
    keys = np.array([5, 7, 12, 19])
    held = ItemsByUser(keys, n_users=5, n_items=5)
    assert held.keys().tolist() == keys.tolist() and held.keys().dtype == np.int64
    assert [one.tolist() for one in held[[1, 2, 3, 0]]] == [[0, 2], [2], [4], []]
    places, items = held.pairs(np.array([3, 1]))
    assert places.tolist() == [0, 1, 1] and items.tolist() == [4, 0, 2]

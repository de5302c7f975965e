"""Negative items by whole batches: uniform, or uniform over the items that the user is not known to like.

Letters: B rows of a batch, N negatives a row, I items with the padding item 0.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_painvrl.data.items_by_user import ItemsByUser
from recbole_painvrl.errors import UserError


def uniform_negatives(n_rows: int, n_negatives: int, n_items: int, generator: torch.Generator) -> Tensor:
    """Draws items uniformly with replacement, liked or not.

    Args:
        n_rows: B.
        n_negatives: N.
        n_items: I; items 1 to I - 1 are drawn.
        generator: Source of randomness, on the CPU.

    Returns:
        Item ids, int64 [B, N].
    """
    return torch.randint(1, n_items, (n_rows, n_negatives), generator=generator)


class EverythingKnownError(UserError):
    """A user has every item; ``user`` is the internal id, which whoever knows the user's name puts in its place."""

    def __init__(self, user: int, n_items: int) -> None:
        super().__init__(f"user {user} (internal id) has all {n_items} items in training: no negative is left")
        self.user = user


class UnknownItems:
    """Uniform draws from the items that a user has no interaction with, exact and without trial and error.

    A user with K known items a_1 < ... < a_K has a_k - k unknown items below the k-th known one. The r-th unknown item
    is therefore r plus the number of k with a_k - k < r, which a binary search among these numbers finds.

    Args:
        known: The items that each user has.

    Raises:
        EverythingKnownError: A user knows every item, so that no negative is left.
    """

    def __init__(self, known: ItemsByUser) -> None:
        self.known, self.n_items = known, known.n_items
        self.unknown = known.n_items - 1 - torch.from_numpy(np.diff(known.starts))
        if bool((self.unknown == 0).any()):
            raise EverythingKnownError(int(torch.nonzero(self.unknown == 0)[0]), known.n_items - 1)

    def draw(self, users: Tensor, n_negatives: int, generator: torch.Generator) -> Tensor:
        """Draws negatives with replacement.

        Args:
            users: User of each row, int64 [B].
            n_negatives: N.
            generator: Source of randomness, on the CPU.

        Returns:
            Item ids, int64 [B, N], none of which is known for the user of its row.
        """
        return self.at(users, torch.rand(len(users), n_negatives, generator=generator, dtype=torch.float64))

    def at(self, users: Tensor, uniform: Tensor) -> Tensor:
        """Returns the unknown items at given places of each user's list of them.

        Args:
            users: User of each row, int64 [B].
            uniform: Places from 0 (the first) to below 1 (the last), float64 [B, N].

        Returns:
            Item ids, int64 [B, N].
        """
        distinct, place = torch.unique(users, return_inverse=True)
        owners, items = self.known.pairs(distinct.numpy())
        counts = torch.bincount(owners, minlength=len(distinct))
        first = counts.cumsum(0) - counts
        number = torch.arange(1, len(items) + 1) - first[owners]  # k
        rank = (uniform * self.unknown[users].unsqueeze(1)).long() + 1
        wanted = (place * self.n_items).unsqueeze(1) + rank
        below = torch.searchsorted(owners * self.n_items + items - number, wanted) - first[place].unsqueeze(1)
        return rank + below

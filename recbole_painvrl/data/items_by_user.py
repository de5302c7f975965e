"""The items of each user in one sorted array, four bytes an interaction.

Letters: U users, I items, n interactions, B users of a batch, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset
from torch import Tensor


def pair_keys(part: Dataset) -> NDArray[np.int64]:
    """Returns ``user * I + item`` of each interaction of a built part, [n]."""
    users, items = (part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field))
    keys: NDArray[np.int64] = users.astype(np.int64) * part.item_num + items
    return keys


class ItemsByUser:
    """Items by user; an index of users gives a list of their items, long [each], as RecBole's loader has them.

    Args:
        keys: Different pairs ``user * I + item`` in ascending order, int64 [n].
        n_users: U.
        n_items: I.

    Attributes:
        starts: Place in ``items`` of each user's first one, and n, int64 [U + 1].
        items: Items by user, ascending for each, int32 [n].
    """

    def __init__(self, keys: NDArray[np.int64], n_users: int, n_items: int) -> None:
        self.n_items = n_items
        self.starts = np.searchsorted(keys, np.arange(n_users + 1) * n_items)
        self.items = (keys % n_items).astype(np.int32)

    @classmethod
    def of(cls, parts: Sequence[Dataset]) -> ItemsByUser:
        """Returns the items that users have in built parts of a data set."""
        keys = np.unique(np.concatenate([pair_keys(part) for part in parts]))
        return cls(keys, parts[0].user_num, parts[0].item_num)

    def __getitem__(self, users: Any) -> list[Tensor]:
        """Returns the items of each of ``users``."""
        bounds = [(self.starts[user], self.starts[user + 1]) for user in users]
        return [torch.from_numpy(self.items[start:stop].astype(np.int64)) for start, stop in bounds]

    def keys(self) -> NDArray[np.int64]:
        """Returns the pairs ``user * I + item`` in ascending order, [n]."""
        keys: NDArray[np.int64] = np.repeat(np.arange(len(self.starts) - 1) * self.n_items, np.diff(self.starts))
        return np.add(keys, self.items, out=keys)

    def pairs(self, users: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Returns the place in ``users`` [B] and the item of each of their pairs, long [P] both."""
        starts = self.starts[users]
        counts = self.starts[users + 1] - starts
        ends = counts.cumsum()
        places = np.repeat(np.arange(len(users)), counts)
        rows = np.arange(len(places)) + (starts - ends + counts)[places]
        return torch.from_numpy(places), torch.from_numpy(self.items[rows].astype(np.int64))

"""Interactions as arrays, and the numbers of the sets they can be in.

Letters: n interactions, P different (user, item) pairs, U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

SETS = ("train", "valid", "test", "test_ood", "valid_ood")
TRAIN, VALID, TEST, TEST_OOD, VALID_OOD = range(len(SETS))
DROPPED = -1


@dataclass(frozen=True)
class Table:
    """Interactions before anything is held out.

    Attributes:
        users: [n] user of each row, from 0.
        items: [n] item of each row, from 0.
        parts: [n] set of each row, ``TRAIN``, ``VALID`` or ``TEST``; all ``TRAIN`` where nothing has been split yet.
    """

    users: np.ndarray
    items: np.ndarray
    parts: np.ndarray

    def __len__(self) -> int:
        """Number of interactions."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """I, the items that have an interaction."""
        return int(self.items.max()) + 1

    @property
    def n_users(self) -> int:
        """U, the users that have an interaction."""
        return int(self.users.max()) + 1

    @cached_property
    def pairs(self) -> np.ndarray:
        """[n] number of the (user, item) pair of each row, 0 to P - 1; repeated interactions share one."""
        return np.unique(self.users * self.n_items + self.items, return_inverse=True)[1]

    @cached_property
    def first_rows(self) -> np.ndarray:
        """[P] the first row of each pair."""
        return np.unique(self.pairs, return_index=True)[1]

    def in_sets(self, names: list[str]) -> np.ndarray:
        """Returns which rows are in the named sets, bool [n]."""
        return np.isin(self.parts, [SETS.index(name) for name in names])

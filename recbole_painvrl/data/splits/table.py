"""Interactions as arrays, and the numbers of the sets they can be in.

Letters: n interactions, P different (user, item) pairs, U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    users: NDArray[Any]
    items: NDArray[Any]
    parts: NDArray[Any]

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
    def pairs(self) -> NDArray[Any]:
        """[n] number of the (user, item) pair of each row, 0 to P - 1; repeated interactions share one."""
        numbers: NDArray[Any] = np.unique(self.users * self.n_items + self.items, return_inverse=True)[1]
        return numbers

    @cached_property
    def first_rows(self) -> NDArray[Any]:
        """[P] the first row of each pair."""
        rows: NDArray[Any] = np.unique(self.pairs, return_index=True)[1]
        return rows

    def in_sets(self, names: list[str]) -> NDArray[Any]:
        """Returns which rows are in the named sets, bool [n]."""
        return np.isin(self.parts, [SETS.index(name) for name in names])

"""The users and items that one training step looks at, where the items are few: all others then cost it nothing.

Letters: B batch, C candidates, M items and V users that the step touches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_painvrl.model.loss import RowsByUser
from recbole_painvrl.model.transfer import moved

WORTHWHILE = 2  # touched items are gathered where all of them are at least so many times as many


@dataclass(frozen=True)
class Touched:
    """A step's users and items, and where among them its rows, its candidates and its chosen items are.

    Attributes:
        users: User ids [V], ascending.
        items: Item ids [M], ascending.
        rows: The rows in order of user, whose users are places in ``users``.
        candidates: Places of the candidates [C] in ``items``, ascending.
        chosen: Place in ``items`` of the chosen item of each row [B].
    """

    users: Tensor
    items: Tensor
    rows: RowsByUser
    candidates: Tensor
    chosen: Tensor

    @classmethod
    def of(cls, rows: RowsByUser, candidates: Tensor, chosen: Tensor) -> Touched:
        """Returns them on the device of ``rows``, for item ids on the host: candidates [C] and each row's own [B]."""
        device, items = rows.user.device, torch.unique(torch.cat([candidates, chosen]))
        places = (moved(torch.searchsorted(items, one), device) for one in (candidates, chosen))
        own = replace(rows, user=torch.arange(len(rows.user), device=device))
        return cls(rows.user, moved(items, device), own, *places)


@dataclass(frozen=True)
class Gathered(Touched):
    """What a step touches with the rows of the tables: gathered once for all losses of the step.

    Attributes:
        user_vectors: What the users' table holds for ``users`` [V, d].
        id_vectors: What the items' table holds for ``items`` [M, d].
    """

    user_vectors: Tensor
    id_vectors: Tensor

    @classmethod
    def from_tables(cls, touched: Touched, users: Tensor, items: Tensor, sparse: bool = False) -> Gathered:
        """Gathers them from the tables [U, d] and [I, d].

        Args:
            touched: What to gather.
            users: The users' table.
            items: The items' table.
            sparse: Whether the tables' gradients are to be sparse instead of as large as the tables.
        """
        user_vectors = F.embedding(touched.users, users, sparse=sparse)
        id_vectors = F.embedding(touched.items, items, sparse=sparse)
        return cls(**vars(touched), user_vectors=user_vectors, id_vectors=id_vectors)


def worthwhile(n_touched: int, n_items: int) -> bool:
    """Returns whether a step that touches at most so many of the items does better to gather them."""
    return WORTHWHILE * n_touched <= n_items

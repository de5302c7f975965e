"""What one evaluation recommended, pair by pair: enough for every metric of every group, without ranking again.

Letters: R rows of an evaluation (users; interactions for sequential models), P positives, K the largest cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Lists:
    """The positives of an evaluation and where the top-k lists have them.

    Attributes:
        users: internal id of the user of each row [R].
        rows: row of each positive [P], each (row, item) once.
        items: its internal item id [P].
        places: its place 0..K-1 in the row's list, K if it is not in it [P].
        depth: K.
    """

    users: NDArray[Any]
    rows: NDArray[Any]
    items: NDArray[Any]
    places: NDArray[Any]
    depth: int


def places_of_positives(recommended: Tensor, positive_u: Tensor, positive_i: Tensor, n_items: int) -> Tensor:
    """Finds each positive in its row's list.

    Args:
        recommended: item ids, long [B, K].
        positive_u: row in 0..B-1 of each positive, long [n]; a pair may occur more than once.
        positive_i: its item id, long [n].
        n_items: I.

    Returns:
        long [P, 3]: row, item and place of each distinct positive; place K for one that is not in the list.
    """
    depth = recommended.shape[1]
    positives = torch.unique(positive_u * n_items + positive_i)
    keys, order = (torch.arange(len(recommended))[:, None] * n_items + recommended).flatten().sort()
    found = torch.searchsorted(keys, positives).clamp_max(max(len(keys) - 1, 0))
    is_there = keys[found] == positives if len(keys) else torch.zeros_like(positives, dtype=torch.bool)
    places = torch.where(is_there, order[found] % depth, depth) if len(keys) else torch.full_like(positives, depth)
    return torch.stack([positives // n_items, positives % n_items, places], dim=1)

"""The items that one training step looks at, where they are few: nothing then has to be computed of all the others.

Letters: B batch, C candidates, M items that the step touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_painvrl.model.transfer import moved

WORTHWHILE = 2  # touched items are gathered where all of them are at least so many times as many


@dataclass(frozen=True)
class Touched:
    """A step's items, and where among them its candidates and its rows' chosen items are.

    Attributes:
        items: Item ids [M] in ascending order, each once.
        candidates: Places of the candidates [C], ascending.
        chosen: Place of the chosen item of each row [B].
    """

    items: Tensor
    candidates: Tensor
    chosen: Tensor

    @classmethod
    def of(cls, candidates: Tensor, chosen: Tensor, device: torch.device) -> Touched:
        """Returns them on ``device``, for item ids on the host: candidates [C] and each row's chosen one [B]."""
        items = torch.unique(torch.cat([candidates, chosen]))
        places = (torch.searchsorted(items, one) for one in (candidates, chosen))
        return cls(moved(items, device), *(moved(place, device) for place in places))


def worthwhile(n_touched: int, n_items: int) -> bool:
    """Returns whether a step that touches at most so many of the items does better to gather them."""
    return WORTHWHILE * n_touched <= n_items

"""Between host and device, without the host waiting for a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Returns ``values`` on ``device``; a copy to a GPU leaves from pinned memory, and the host does not wait."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def places(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the numbers from 0 to ``length - 1`` on the host and on ``device``."""
    return torch.arange(length), torch.arange(length, device=device)


def column_on_host(batch: Any, field: str) -> Tensor:
    """Returns a column of a batch, where it still has one as it was on the host before it was moved.

    What is asked of that copy (how many different users there are, say) a GPU need not be waited for.

    Args:
        batch: an ``Interaction``; its attribute ``host`` is the ``Interaction`` that it was moved from.
        field: name of the column.
    """
    column: Tensor = getattr(batch, "host", batch)[field]
    return column

"""Rows scaled to length 1, with a gradient that stays small where a row is zero."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-12


def unit_rows(table: Tensor) -> Tensor:
    """Returns the rows [n, d] of a table divided by their length; rows of length 0 stay zero.

    ``torch.nn.functional.normalize`` gives the same, but divides a row of zeros, and so its gradient, by 1e-12. An item
    without features that is scored by its content alone is such a row, and 1e12 times its gradient would for many
    epochs be all that Adam sees of the bias that it shares with every other item. Here the divisor is then 1.
    """
    length = table.norm(dim=1, keepdim=True)
    return table / torch.where(length > SMALLEST, length, 1.0)

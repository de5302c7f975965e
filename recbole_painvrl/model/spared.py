"""Arithmetic on tables of all items that spares copies of them where no gradient is recorded, as in evaluation.

The results are the same to the last bit. Letters: I items, k width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scaled(table: Tensor, factor: Tensor | float) -> Tensor:
    """Returns ``table * factor``, of a table that nobody needs any more: in its own memory without gradients."""
    return table * factor if torch.is_grad_enabled() else table.mul_(factor)


def added(table: Tensor, other: Tensor) -> Tensor:
    """Returns ``table + other``, of a table that nobody needs any more: in its own memory without gradients."""
    return table + other if torch.is_grad_enabled() else table.add_(other)


def beside(left: Tensor, kept: Tensor | None, right: Tensor) -> Tensor:
    """Returns ``[left * kept, right]``, whose left part is not made first without gradients.

    Args:
        left: [I, d].
        kept: bool [I], rows to keep, the others being 0; None keeps all.
        right: [I, k].
    """
    if torch.is_grad_enabled():
        return torch.cat([left if kept is None else left * kept[:, None], right], dim=1)
    found = left.new_empty(len(left), left.shape[1] + right.shape[1])
    part = found[:, : left.shape[1]]
    part.copy_(left) if kept is None else torch.mul(left, kept[:, None], out=part)
    found[:, left.shape[1] :] = right
    return found

"""Inner products of chosen (user, item) pairs, the one operation under every loss on sampled items.

Letters: U users, I items, d embedding width, B batch, K items a row of the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_painvrl.model.sparse import row_sums, transposed
from recbole_painvrl.products import entry_products


def matching_tables(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Returns both tables in one floating type of at least 32 bits, so that half-precision training sums safely."""
    dtype = torch.promote_types(torch.promote_types(users.dtype, items.dtype), torch.float32)
    return users.to(dtype), items.to(dtype)


def sampled_scores(users: Tensor, items: Tensor, user: Tensor, item: Tensor) -> Tensor:
    """Returns the scores [B, K] of the items ``item`` [B, K] for the users ``user`` [B], without a [B, K, d] tensor.

    The forward pass evaluates ``users @ items.T`` at the wanted places only; the backward pass is one sparse product a
    table. It can be differentiated once.

    Args:
        users: User vectors [U, d].
        items: Item vectors [I, d].
        user: User of each row [B], in 0..U-1, repeated at will.
        item: Items to score [B, K], in 0..I-1, repeated at will.

    Raises:
        IndexError: If an index lies outside its table (checked on the CPU; on a GPU the check would wait for it).
    """
    if item.device.type == "cpu" and item.numel():
        smallest, largest = (int(bound) for bound in item.aminmax())
        if smallest < 0 or largest >= len(items):
            raise IndexError(f"items must lie in 0..{len(items) - 1}, but the batch has {smallest}..{largest}")
    users, items = matching_tables(users, items)
    with torch.autocast(users.device.type, enabled=False):
        return _SampledScores.apply(users, items, user, item)


def positive_first(positive: Tensor, negatives: Tensor) -> Tensor:
    """Returns ``positive`` [B] and ``negatives`` [B, N] (or [B]) side by side as [B, 1 + N]."""
    negatives = negatives.unsqueeze(1) if negatives.dim() == 1 else negatives
    return torch.cat([positive.unsqueeze(1), negatives], dim=1)


def mean_over_rows(losses: Tensor) -> Tensor:
    """Returns the mean of ``losses`` [B] as a scalar, which is zero and keeps its graph when the batch is empty."""
    return losses.sum() / max(len(losses), 1)


class _SampledScores(torch.autograd.Function):
    """``users[user] @ items.T`` at the places ``item``, its gradient in two sparse products."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, user: Tensor, item: Tensor) -> Tensor:
        """Scores each row of the batch as one row of a sparse pattern [B, I]."""
        column = item.reshape(-1).to(torch.int32)
        crow = torch.arange(0, column.numel() + 1, max(item.shape[1], 1), dtype=torch.int32, device=item.device)
        rows, items = users.index_select(0, user), items.contiguous()
        ctx.save_for_backward(rows, items, user, crow, column)
        ctx.n_users = len(users)
        return _scores(rows, items, item, crow, column)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Multiplies the sparse gradient of the scores, or its transpose, with the other table."""
        rows, items, user, crow, column = ctx.saved_tensors
        value = gradient.reshape(-1)
        users_gradient = items_gradient = None
        if ctx.needs_input_grad[0]:
            users_gradient = _gathered(row_sums(crow, column, value, items), user, ctx.n_users)
        if ctx.needs_input_grad[1]:
            items_gradient = row_sums(*transposed(crow, column, value, len(items)), rows)
        return users_gradient, items_gradient, None, None


def _scores(rows: Tensor, items: Tensor, item: Tensor, crow: Tensor, column: Tensor) -> Tensor:
    """Returns the products [B, K] of ``rows`` [B, d] with the items ``item`` [B, K] of their row."""
    if item.shape[1] > len(items):  # all products are fewer, and torch takes no pattern with more entries than places
        return (rows @ items.t()).gather(1, item)
    return entry_products(crow, column, rows, items).view(item.shape)


def _gathered(rows: Tensor, user: Tensor, n_users: int) -> Tensor:
    """Returns for each user the sum [U, d] of its rows [B, d], added in a fixed order on every device."""
    order = torch.argsort(user, stable=True)
    starts = torch.searchsorted(user[order], torch.arange(n_users + 1, device=user.device))
    return row_sums(starts, order, rows.new_ones(len(order)), rows)

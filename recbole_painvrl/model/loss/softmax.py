"""Cross-entropy over all items or over the candidates of the batch, without a [B, I] tensor that outlives its chunk.

Letters: U users, I items, d embedding width, B batch, V distinct users of the batch, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_painvrl.model.loss.scores import matching_tables
from recbole_painvrl.model.transfer import moved

# logits formed at a time: on a CPU 4 MB in 32 bits, as larger ones leave the cache and cost a tenth more; a GPU works
# on 256 MB at once rather than wait for many small launches
CHUNK_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}
SMALLEST_CHUNK = 16  # users: a product of fewer rows reads the item table too often for the work it does


def softmax_loss(
    users: Tensor, items: Tensor, user: Tensor, positive: Tensor, candidates: Tensor | None = None
) -> Tensor:
    """Returns the mean over the batch of -log softmax(users @ items.T) at the chosen item.

    Rows of the same user share their logits, so the cost grows with the number of distinct users, not with B. Tables
    carry the temperature: divide one of them by it (after normalizing both, for cosine scores).

    Args:
        users: User vectors [U, d].
        items: Item vectors [I, d].
        user: User of each row [B]. On the host, even if the tables are on a GPU, the GPU is not waited for.
        positive: Item that the user chose [B].
        candidates: Items that the chosen one competes with: indices [C] (repetitions count once), or a mask [I] that is
            true for them. By default all items but the padding item 0. A row's own chosen item competes in any case.
            They too may be on the host.

    Raises:
        ValueError: If there is no candidate at all.

    Source: Wu et al., "On the Effectiveness of Sampled Softmax Loss for Item Recommendation", TOIS 2024, equation 4.
    """
    device = items.device
    rows, index = RowsByUser.of(user, device), _candidate_index(candidates, len(items), device)
    return softmax_loss_of_rows(users, items, rows, positive, index)


def softmax_loss_of_rows(users: Tensor, items: Tensor, rows: RowsByUser, positive: Tensor, index: Tensor) -> Tensor:
    """Returns what :func:`softmax_loss` does, of rows that are in order already and candidates that are distinct.

    Args:
        users: User vectors [U, d].
        items: Item vectors [I, d].
        rows: The rows in order of user [B].
        positive: Item that the user of each row chose [B].
        index: Candidates [C] in ascending order, each once.
    """
    users, items = matching_tables(users, items)
    needed = torch.is_grad_enabled() and (users.requires_grad or items.requires_grad)
    with torch.autocast(users.device.type, enabled=False):
        return _SoftmaxLoss.apply(users, items, rows, positive.to(torch.long), index, needed)


@dataclass(frozen=True)
class RowsByUser:
    """Where the rows of each user of a batch are.

    Attributes:
        order: The rows in order of user [B].
        user: Distinct users [V], ascending.
        place: Place in ``user`` of the user of each row [B], in that order.
        starts: First row, in that order, of each distinct user, and B.
    """

    order: Tensor
    user: Tensor
    place: Tensor
    starts: list[int]

    @classmethod
    def of(cls, user: Tensor, device: torch.device) -> RowsByUser:
        """Returns them on ``device`` for the user of each row [B], which may be on the host."""
        order = torch.argsort(user, stable=True)
        distinct, place, counts = torch.unique_consecutive(user[order], return_inverse=True, return_counts=True)
        starts = [0, *counts.cumsum(0).tolist()]
        return cls(moved(order, device), moved(distinct, device), moved(place, device), starts)


def _candidate_index(candidates: Tensor | None, n_items: int, device: torch.device) -> Tensor:
    """Returns the distinct candidates [C] in ascending order."""
    if candidates is None:
        index = torch.arange(1, n_items, device=device)
    elif candidates.dtype == torch.bool:
        index = moved(candidates.nonzero().squeeze(1), device)
    else:
        index = moved(torch.unique(candidates), device)
    if not len(index):
        raise ValueError(f"a softmax needs candidates, but none of the {n_items} items is one")
    return index


class _SoftmaxLoss(torch.autograd.Function):
    """The loss and, in the same pass over the logits, its gradient in closed form."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, rows: RowsByUser, positive: Tensor, index: Tensor, needed: bool
    ) -> Tensor:
        """Computes loss and gradients chunk by chunk over the distinct users of the batch."""
        batch = _Batch(users, items, rows, positive, index)
        for chunk in batch.chunks():
            batch.visit(chunk, needed)
        if needed:
            ctx.save_for_backward(*batch.of_users(), *batch.of_items())
            ctx.shapes, ctx.scale = (users.shape, items.shape), 1 / max(len(positive), 1)
        return batch.loss / max(len(positive), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Scales the gradients found in the forward pass and deals them out to tables of zeros."""
        user, of_rows, index, of_pool, positive, of_chosen = ctx.saved_tensors
        users = items = None
        if ctx.needs_input_grad[0]:
            users = of_rows.new_zeros(ctx.shapes[0]).index_copy_(0, user, of_rows * ctx.scale * gradient)
        if ctx.needs_input_grad[1]:
            items = of_pool.new_zeros(ctx.shapes[1]).index_copy_(0, index, of_pool)
            items.index_add_(0, positive, of_chosen).mul_(ctx.scale).mul_(gradient)
        return users, items, None, None, None, None


class _Batch:
    """The rows of a batch in order of user, and the sums that a pass over its distinct users collects.

    What it keeps for the gradients has the rows that the batch touches; tables of all users and items are made when
    they are asked for, and go as soon as they have been used.

    A row whose chosen item is no candidate has one logit more than its user: its log-normalizer is
    ``logaddexp(normalizer of the user, score)``, and it weighs the user's softmax by ``exp`` of the difference.
    """

    def __init__(self, users: Tensor, items: Tensor, rows: RowsByUser, positive: Tensor, index: Tensor) -> None:
        self.positive, self.index = positive[rows.order], index
        self.user, self.place, self.starts = rows.user, rows.place, rows.starts
        self.rows, self.pool, self.chosen = users[self.user], items[index], items[self.positive]
        self.score = (self.rows[self.place] * self.chosen).sum(dim=1)
        slot = torch.searchsorted(index, self.positive).clamp(max=len(index) - 1)
        self.competes = index[slot] == self.positive
        self.loss = users.new_zeros(())
        self.coefficient = torch.empty_like(self.score)
        self.rows_gradient, self.pool_gradient = torch.zeros_like(self.rows), torch.zeros_like(self.pool)

    def chunks(self) -> Iterator[slice]:
        """Yields slices of the distinct users whose logits are formed together."""
        most = CHUNK_ELEMENTS.get(self.index.device.type, CHUNK_ELEMENTS["cpu"])
        size = max(SMALLEST_CHUNK, most // len(self.index))
        for start in range(0, len(self.user), size):
            yield slice(start, min(start + size, len(self.user)))

    def visit(self, users: slice, needed: bool) -> None:
        """Adds the loss of the rows of ``users`` and, if ``needed``, what their softmax gives to both gradients."""
        logits = self.rows[users] @ self.pool.t()
        largest = logits.amax(dim=1)
        torch.softmax(logits, dim=1, out=logits)
        normalizer = largest - logits.amax(dim=1).log()
        of_rows = slice(self.starts[users.start], self.starts[users.stop])
        place, score = self.place[of_rows] - users.start, self.score[of_rows]
        own = normalizer[place]
        total = torch.where(self.competes[of_rows], own, torch.logaddexp(own, score))
        self.loss += (total - score).sum()
        if needed:
            self.coefficient[of_rows] = torch.where(self.competes[of_rows], 0.0, (score - total).exp()) - 1
            weight = torch.zeros_like(normalizer).index_add_(0, place, (own - total).exp()).unsqueeze(1)
            torch.mm(logits, self.pool, out=self.rows_gradient[users]).mul_(weight)
            self.pool_gradient.addmm_(logits.t(), self.rows[users] * weight)

    def of_users(self) -> tuple[Tensor, Tensor]:
        """Returns the distinct users [V] and the gradients of the summed loss by their vectors [V, d]."""
        return self.user, self.rows_gradient.index_add_(0, self.place, self.coefficient.unsqueeze(1) * self.chosen)

    def of_items(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the candidates [C], the gradients by their vectors [C, d], and the same of the chosen items [B]."""
        of_chosen = self.coefficient.unsqueeze(1) * self.rows[self.place]
        return self.index, self.pool_gradient, self.positive, of_chosen

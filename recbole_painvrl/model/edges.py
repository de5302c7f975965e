"""Graphs whose edges have weights that may be learned: sums over neighbors and softmax over neighbors.

Letters: T targets, S sources, Z edges, U users, I items, d embedding width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_painvrl.model.loss.scores import matching_tables
from recbole_painvrl.model.sparse import distinct_pairs, row_sums
from recbole_painvrl.model.sparse_map import SparseMap
from recbole_painvrl.products import entry_products


class Edges(SparseMap):
    """Distinct directed edges, sorted by the target at which they arrive, then by the source that they leave.

    Called with the sources' vectors [S, d], they return the mean over each target's sources [T, d]; with weights [Z]
    too, the sum so weighted. Everything can be differentiated once and forms no tensor [Z, d].

    Args:
        target: Where each edge arrives, long [Z], in 0..T-1.
        source: What it leaves, long [Z], in 0..S-1; no pair may come twice.
        shape: (T, S).

    Attributes:
        target: Targets in order [Z].
        source: Their sources [Z].
    """

    target: Tensor
    source: Tensor

    def __init__(self, target: Tensor, source: Tensor, shape: tuple[int, int]) -> None:
        order = torch.argsort(target * shape[1] + source)
        target, source = target[order], source[order]
        super().__init__(target, source, 1.0 / torch.bincount(target, minlength=shape[0])[target], shape)
        self.register_buffer("target", target, persistent=False)
        self.register_buffer("source", source, persistent=False)

    def __len__(self) -> int:
        """Returns Z."""
        return len(self.target)

    def products(self, targets: Tensor, sources: Tensor) -> Tensor:
        """Returns the inner product [Z] of the two ends of each edge, of vectors [T, d] and [S, d]."""
        pattern = (self.crow, self.column, self.flipped_crow, self.flipped_column, self.order)
        targets, sources = matching_tables(targets, sources)  # one of them may come from a product in half precision
        with torch.autocast(targets.device.type, enabled=False):
            return _Products.apply(targets, sources, *pattern)

    def softmax(self, logits: Tensor) -> Tensor:
        """Returns exp(logits) [Z], scaled to sum 1 over the edges of each target."""
        if not len(self):
            return logits
        starts = self.crow.to(torch.long)
        with torch.no_grad():
            largest = torch.segment_reduce(logits.detach(), "max", offsets=starts, initial=-torch.inf)
        exponential = (logits - largest[self.target]).exp()
        return exponential / torch.segment_reduce(exponential, "sum", offsets=starts)[self.target]


def edges_to_users(user: Tensor, item: Tensor, n_users: int, n_items: int) -> Edges:
    """Returns an edge from item to user for each distinct interaction: T is U, S is I."""
    return Edges(*distinct_pairs(user, item, n_items), (n_users, n_items))


def edges_both_ways(user: Tensor, item: Tensor, n_users: int, n_items: int) -> Edges:
    """Returns two edges for each distinct interaction; item i is node U + i, and T and S are U + I."""
    user, item = distinct_pairs(user, item, n_items)
    item, n_nodes = item + n_users, n_users + n_items
    return Edges(torch.cat([user, item]), torch.cat([item, user]), (n_nodes, n_nodes))


class _Products(torch.autograd.Function):
    """A product of two tables at the edges alone."""

    @staticmethod
    def forward(ctx: Any, targets: Tensor, sources: Tensor, *pattern: Tensor) -> Tensor:
        """Multiplies the two ends of each edge."""
        targets, sources = targets.contiguous(), sources.contiguous()
        ctx.save_for_backward(targets, sources, *pattern)
        crow, column, *_ = pattern
        return entry_products(crow, column, targets, sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gives each end the other one, weighted by the edge's gradient."""
        targets, sources, crow, column, flipped_crow, flipped_column, order = ctx.saved_tensors
        of_targets = row_sums(crow, column, gradient, sources) if ctx.needs_input_grad[0] else None
        of_sources = (
            row_sums(flipped_crow, flipped_column, gradient[order], targets) if ctx.needs_input_grad[1] else None
        )
        return of_targets, of_sources, *[None] * 5

"""Graphs of users and items and LightGCN's propagation over them.

Letters: U users, I items, D feature width, d embedding width, k neighbors, n interactions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbole_painvrl.model.sparse import distinct_pairs, row_sums
from recbole_painvrl.products import csr


def normalized_adjacency(user: Tensor, item: Tensor, n_users: int, n_items: int) -> Tensor:
    """Returns D^-1/2 A D^-1/2 of the bipartite graph of users and items as a sparse CSR tensor [U + I, U + I].

    A pair that occurs twice counts once; a user or an item without interactions, such as the padding, has an empty row.

    Args:
        user: Users of the interactions [n].
        item: Their items [n].
        n_users: U; item i is node U + i.
        n_items: I.

    Source: He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020,
    equation 7.
    """
    user, item = distinct_pairs(user, item, n_items)
    row, column = torch.cat([user, item + n_users]), torch.cat([item + n_users, user])
    degree = torch.bincount(row, minlength=n_users + n_items)
    order = torch.argsort(row, stable=True)
    row, column = row[order], column[order]
    value = (degree[row] * degree[column]).to(torch.float32).rsqrt()
    crow = functional.pad(degree.cumsum(0), (1, 0))
    return csr(crow.to(torch.int32), column.to(torch.int32), value, (len(degree), len(degree)))


def propagate(adjacency: Tensor, nodes: Tensor, n_layers: int) -> Tensor:
    """Returns the mean [U + I, d] of ``nodes`` and its images after 1 to ``n_layers`` steps over the graph.

    The graph must be symmetric: the backward pass then is the same propagation, of the gradient, and nothing is
    transposed or kept. Can be differentiated once.

    Args:
        adjacency: Symmetric sparse CSR tensor [U + I, U + I].
        nodes: Vectors of users, then items [U + I, d].
        n_layers: Number of steps; 0 returns ``nodes`` as they are.

    Source: He et al., LightGCN, SIGIR 2020, equations 7 and 8 with alpha_k = 1 / (K + 1).
    """
    if not n_layers:
        return nodes
    with torch.autocast(nodes.device.type, enabled=False):
        value = adjacency.values().to(nodes.dtype)
        return _Propagate.apply(adjacency.crow_indices(), adjacency.col_indices(), value, nodes, n_layers)


class _Propagate(torch.autograd.Function):
    """A symmetric linear map: its own transpose."""

    @staticmethod
    def forward(ctx: Any, crow: Tensor, column: Tensor, value: Tensor, nodes: Tensor, n_layers: int) -> Tensor:
        """Averages the layers."""
        ctx.save_for_backward(crow, column, value)
        ctx.n_layers = n_layers
        return _mean_of_layers(crow, column, value, nodes, n_layers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Averages the layers of the gradient."""
        crow, column, value = ctx.saved_tensors
        return None, None, None, _mean_of_layers(crow, column, value, gradient, ctx.n_layers), None


def _mean_of_layers(crow: Tensor, column: Tensor, value: Tensor, nodes: Tensor, n_layers: int) -> Tensor:
    """Returns the mean of A^0 x, ..., A^n x by Horner's rule, which keeps two tables whatever n is."""
    nodes = nodes.contiguous()
    total = nodes
    for _ in range(n_layers):
        total = row_sums(crow, column, value, total).add_(nodes)
    return total / (n_layers + 1)

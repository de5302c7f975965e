"""Dense graphs that tests of this folder compare sparse ones with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def dense_adjacency(user: Tensor, item: Tensor, n_users: int, n_items: int) -> Tensor:
    """Returns the normalized graph of users and items [U + I, U + I]."""
    graph = torch.zeros(n_users + n_items, n_users + n_items)
    graph[user, n_users + item] = graph[n_users + item, user] = 1.0
    scale = graph.sum(1).clamp_min(1).rsqrt()
    return scale[:, None] * graph * scale


def dense_item_graph(features: Tensor, n_neighbors: int, weighted: bool) -> Tensor:
    """Returns the normalized graph of nearest items [I, I], the items themselves included."""
    unit = F.normalize(features, dim=1)
    cosine = unit @ unit.T
    kept = torch.zeros_like(cosine).scatter(1, cosine.topk(n_neighbors, dim=1).indices, 1.0) * (cosine > 0)
    graph = cosine * kept if weighted else kept
    degree = graph.sum(1)
    scale = torch.where(degree > 0, degree.clamp_min(1e-9).rsqrt(), 0.0)
    return scale[:, None] * graph * scale


def lightgcn(model: Any, adjacency: Tensor) -> Tensor:
    """Returns the mean of the ids [U + I, d] after 0 to ``n_layers`` steps over a dense graph."""
    layers = [torch.cat([model.user_embedding.weight, model.item_embedding.weight])]
    for _ in range(model.n_layers):
        layers.append(adjacency @ layers[-1])
    return torch.stack(layers).mean(0)


def stir(model: Any, seed: int = 5) -> None:
    """Draws all parameters, biases and padding rows too, so that no term of a formula is zero by accident."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=source)

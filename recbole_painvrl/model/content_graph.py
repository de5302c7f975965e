"""Graphs that join each item to the items of most similar content, as LATTICE, FREEDOM and MGCN propagate over.

A graph is held as the neighbors [I, k] of each item and their weights [I, k]: memory is linear in the items. A place
without a neighbor is item 0 with the weight 0. The item itself is the first of its neighbors, as in the papers, whose
similarity matrices keep their diagonals.

Letters: I items, D feature width, k neighbors, G graphs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recbole_painvrl.model.loss import sampled_scores
from recbole_painvrl.model.neighbors import neighbor_graph
from recbole_painvrl.model.sparse_map import SparseMap


@torch.no_grad()
def content_neighbors(features: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
    """Returns the items [I, k] of most similar features, the item itself first, and their cosines [I, k].

    An item without features (a row of zeros, such as the padding) has no neighbors and is nobody's. Items of no or
    opposite similarity are no neighbors: a graph's weights must not be negative.

    Args:
        features: Item features [I, D].
        n_neighbors: k, the item itself counted.

    Source: Zhang et al., "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021, equations 1 and 2.
    """
    index, cosine = neighbor_graph(features, n_neighbors - 1)
    present = features.abs().amax(dim=1, keepdim=True) > 0
    own = torch.arange(len(features), device=features.device).unsqueeze(1) * present
    index, cosine = torch.cat([own, index], dim=1), torch.cat([present.to(cosine.dtype), cosine], dim=1)
    absent = cosine <= 0
    return index.masked_fill(absent, 0), cosine.masked_fill(absent, 0.0)


def learned_weights(features: Tensor, index: Tensor, cosine: Tensor) -> Tensor:
    """Returns the cosines [I, k] that content_neighbors found, differentiable in the features [I, D]."""
    unit = functional.normalize(features, dim=1)
    found = sampled_scores(unit, unit, torch.arange(len(unit), device=unit.device), index)
    return found * (cosine > 0)


def normalized(index: Tensor, weight: Tensor) -> Tensor:
    """Returns the weights [I, k] of D^-1/2 S D^-1/2, where D has the sums of the rows of S; differentiable.

    Args:
        index: Neighbors of each item [I, k].
        weight: Their weights [I, k], from 0; 0 marks a place without a neighbor.

    Source: Zhang et al., ACM MM 2021, equation 3.
    """
    degree = weight.sum(dim=1)
    scale = torch.where(degree > 0, degree.clamp_min(1e-12).rsqrt(), 0.0)
    return weight * scale.unsqueeze(1) * scale[index]


def binary(weight: Tensor) -> Tensor:
    """Returns 1 for each neighbor and 0 for each place without one, for weights [I, k]."""
    return (weight > 0).to(weight.dtype)


def mixture(index: Tensor, weight: Tensor) -> tuple[SparseMap, Tensor]:
    """Returns the sum of several graphs as one sparse map [I, I], and its entries [Z], differentiable in the weights.

    Args:
        index: Neighbors in each graph [G, I, k].
        weight: Their weights [G, I, k]; 0 marks a place without a neighbor.
    """
    n_items = index.shape[1]
    kept = weight > 0
    own = torch.arange(n_items, device=index.device).view(1, -1, 1).expand_as(index)
    places, which = torch.unique(own[kept] * n_items + index[kept], return_inverse=True)
    value = weight.new_zeros(len(places)).index_put((which,), weight[kept], accumulate=True)
    return SparseMap(places // n_items, places % n_items, value, (n_items, n_items)), value

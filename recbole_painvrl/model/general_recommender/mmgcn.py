"""MMGCN: a graph convolution network for each modality."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_painvrl.errors import one_of
from recbole_painvrl.model.edges import Edges, edges_both_ways
from recbole_painvrl.model.modality_recommender import ModalityRecommender
from recbole_painvrl.model.unit_rows import unit_rows

COMBINATIONS = ("sum", "concat")


class _Layer(nn.Module):
    """Aggregation of a node's neighbors and combination with its own vector, from width k to width d."""

    def __init__(self, width: int, size: int, combination: str) -> None:
        super().__init__()
        self.neighbors = nn.Linear(width, size, bias=False)
        self.own = nn.Linear(width, size, bias=False)
        self.both = nn.Linear(size if combination == "sum" else 2 * size, size, bias=False)
        self.combination = combination

    def forward(self, nodes: Tensor, ids: Tensor, edges: Edges) -> Tensor:
        """Returns the next layer's vectors [U + I, d] of ``nodes`` [U + I, k] with the ids [U + I, d]."""
        around = functional.leaky_relu(edges(self.neighbors(nodes)))
        own = functional.leaky_relu(self.own(nodes)) + ids
        if self.combination == "sum":
            return functional.leaky_relu(self.both(around) + own)
        return functional.leaky_relu(self.both(torch.cat([around, own], dim=1)))


class _ModalityGraph(nn.Module):
    """The network of one modality: users' preferences and items' features on the first layer."""

    def __init__(self, n_users: int, dimension: int, width: int, size: int, n_layers: int, combination: str) -> None:
        super().__init__()
        self.preference = nn.Embedding(n_users, width)
        self.projection = nn.Linear(dimension, width)
        widths = [width, *[size] * n_layers][:n_layers]
        self.layers = nn.ModuleList(_Layer(part, size, combination) for part in widths)

    def forward(self, features: Tensor, ids: Tensor, edges: Edges) -> Tensor:
        """Returns the last layer's vectors of users, then items [U + I, d]."""
        nodes = unit_rows(torch.cat([self.preference.weight, self.projection(features)]))
        for layer in self.layers:
            nodes = layer(nodes, ids, edges)
        return nodes


class MMGCN(ModalityRecommender):
    """Multi-modal graph convolution network: convolution over the interactions in each modality by itself.

    In each modality a node's neighbors are averaged, ``h = LeakyReLU(mean_j W1 x_j)``, and combined with the node
    itself and its id, ``x^ = LeakyReLU(W2 x) + id``: either ``x' = LeakyReLU(W3 h + x^)`` or
    ``x' = LeakyReLU(W3 [h ; x^])``, which ``combination`` chooses. The ids are shared by the modalities, each of which
    has a learned preference of every user where items have features. The modalities' last layers are averaged.

    Source: Wei et al., "MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video",
    ACM MM 2019: aggregation layer (mean), combination layer (both kinds), model prediction.

    Deviations: features are projected to ``feature_size`` first and the first layer's vectors have unit length (as in
    the authors' code, for wide features, whose linear maps also have biases and whose ``W1`` keeps the width of what it
    aggregates, where it leads to ``embedding_size`` here); the modalities are averaged where the paper adds them up;
    ``reg_weight`` acts on the ids and preferences that a batch touches, and of preferences, which have unit length when
    used, changes only how far a step turns them. Maximum aggregation is not offered. Public ports hold ids and
    preferences in plain tensors, which no optimizer updates, take the text 'False' for true and so always
    concatenate, and rank by the tables of the last training batch; here ids and preferences are parameters, and tables
    are computed anew for every evaluation.

    Note: LeakyReLU on the last layer leaves hardly a score below 0, which ``rec_loss: ultragcn`` with a large
    ``negative_weight`` would need.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        combination = one_of("combination", config["combination"], COMBINATIONS)
        width, n_layers = int(config["feature_size"]), int(config["n_layers"])
        self.edges = edges_both_ways(self.train_users, self.train_items, self.n_users, self.n_items)
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self.graphs = nn.ModuleList(
            _ModalityGraph(self.n_users, block.stop - block.start, width, self.embedding_size, n_layers, combination)
            for block in self.content.blocks
        )
        self.reset_parameters()

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the mean over the modalities of the last layers."""
        ids = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        parts = zip(self.graphs, self.features().values(), strict=True)
        last = [graph(features, ids, self.edges) for graph, features in parts]
        users, items = torch.stack(last).mean(dim=0).split([self.n_users, self.n_items])
        return users, items

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the mean ranking loss of the batch and the L2 term of its ids and preferences."""
        preferences = [graph.get_parameter("preference.weight") for graph in self.graphs]
        own = torch.cat([self.user_embedding.weight, *preferences], dim=1)
        penalty = self.batch_penalty(own, self.item_embedding.weight, interaction)
        return self.ranking_loss(*self.tables(), interaction) + penalty

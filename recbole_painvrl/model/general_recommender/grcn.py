"""GRCN: graph convolution on a graph whose doubtful interactions are weakened."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_painvrl.model.edges import Edges, edges_both_ways, edges_to_users
from recbole_painvrl.model.modality_recommender import ModalityRecommender
from recbole_painvrl.model.unit_rows import unit_rows


class _Prototypes(nn.Module):
    """One modality's prototypical network: a prototype for each user, routed to the items that agree with it."""

    def __init__(self, n_users: int, dimension: int, size: int) -> None:
        super().__init__()
        self.preference = nn.Embedding(n_users, size)
        self.projection = nn.Linear(dimension, size)

    def forward(self, features: Tensor, edges: Edges, n_routing: int) -> tuple[Tensor, Tensor]:
        """Returns the users' prototypes [U, k] and the items' vectors [I, k], all of unit length.

        Args:
            features: The modality's features [I, D_m].
            edges: From each user's items to the user.
            n_routing: How often the prototypes move.
        """
        items = unit_rows(functional.leaky_relu(self.projection(features)))
        users = unit_rows(self.preference.weight)
        for _ in range(n_routing):
            share = edges.softmax(edges.products(users, items))
            users = unit_rows(users + edges(items, share))
        return users, items


class GRCN(ModalityRecommender):
    """Graph-refined convolutional network: interactions that the modalities contradict are pruned softly.

    Graph refining: in each modality a user's prototype moves ``n_routing`` times towards the items that are near it
    among the user's own, ``u <- u + sum_i softmax_i(<u, i>) i``. The affinity of an edge from s to t is then
    ``softmax_s(<t, s>)`` over the neighbors of t, so that the two directions differ, and the edge weighs
    ``ReLU(max_m c_sm affinity_m)`` with a learned confidence c of node s in modality m. Graph convolution: ids are
    summed over the refined graph, and the layers are added up. Prediction: inner products of the ids so convolved, side
    by side with the prototypes and the items' projected features of all modalities.

    Source: Wei et al., "Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit Feedback",
    ACM MM 2020: graph refining layer, graph convolutional layer, prediction layer.

    Deviations: confidences start at 1, so that the graph starts whole; the authors' code draws them around 0, and an
    edge all of whose modalities are below 0 has no gradient that could bring it back. That code also scales ids to unit
    length before the convolution, and adds to the content of a modality what one more step of attention, in both
    directions, brings from the neighbors; neither is done here. ``reg_weight`` acts on the ids and preferences that a
    batch touches; preferences are scaled to unit length before use, so that it changes only how far a step turns them.
    Of the paper's variants only soft pruning, the maximum over modalities and concatenation are offered. Public ports
    need a compiled graph library and name a device; this runs on any.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers, self.n_routing = int(config["n_layers"]), int(config["n_routing"])
        shape = self.train_users, self.train_items, self.n_users, self.n_items
        self.edges, self.user_edges = edges_both_ways(*shape), edges_to_users(*shape)
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self.confidence = nn.Parameter(torch.empty(self.n_users + self.n_items, len(self.content.blocks)))
        self.prototypes = nn.ModuleList(
            _Prototypes(self.n_users, block.stop - block.start, int(config["feature_size"]))
            for block in self.content.blocks
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all parameters anew from the seed; confidences are 1."""
        super().reset_parameters()
        self.confidence.fill_(1.0)

    def refined(self, contents: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Returns the weight of each edge [Z], given users' prototypes and items' vectors of each modality."""
        nodes = [torch.cat(both) for both in contents]
        affinity = [self.edges.softmax(self.edges.products(part, part)) for part in nodes]
        trusted = self.confidence[self.edges.source] * torch.stack(affinity, dim=1)
        return functional.relu(trusted.amax(dim=1))

    def convolved(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the sum over the layers of the ids of users [U, d] and items [I, d] on the graph of these weights."""
        layer = total = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        for _ in range(self.n_layers):
            layer = self.edges(layer, weight)
            total = total + layer
        users, items = total.split([self.n_users, self.n_items])
        return users, items

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the convolved ids side by side with the content of each modality."""
        networks = zip(self.prototypes, self.features().values(), strict=True)
        contents = [network(features, self.user_edges, self.n_routing) for network, features in networks]
        parts = [self.convolved(self.refined(contents)), *contents]
        users, items = (torch.cat(side, dim=1) for side in zip(*parts, strict=True))
        return users, items

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the mean ranking loss of the batch and the L2 term of its ids and preferences."""
        preferences = [network.get_parameter("preference.weight") for network in self.prototypes]
        own = torch.cat([self.user_embedding.weight, *preferences], dim=1)
        penalty = self.batch_penalty(own, self.item_embedding.weight, interaction)
        return self.ranking_loss(*self.tables(), interaction) + penalty

"""LATTICE: graphs of similar items, partly given by the features and partly learned.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), M modalities, D_m feature width of a modality,
d embedding width, k neighbors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.model.content_graph import content_neighbors, learned_weights, mixture, normalized
from recbole_painvrl.model.content_graph_recommender import ContentGraphRecommender
from recbole_painvrl.model.sparse_map import SparseMap
from recbole_painvrl.model.unit_rows import unit_rows


class LATTICE(ContentGraphRecommender):
    """LATTICE: each item's vector is that of a collaborative filter plus a direction learned from similar items.

    Each modality has two graphs of an item's ``graph_neighbors`` nearest, weighted by cosines and normalized: one of
    its features, frozen, and one of the features after a linear map to ``feature_size`` columns, which is learned. They
    are mixed as ``lambda S + (1 - lambda) A`` with ``initial_graph_weight`` as lambda, and over the modalities by a
    softmax of learned weights. The items' ids, after ``n_item_layers`` steps over the mixture, get unit length
    and are added to the items of the collaborative filter: LightGCN, or with ``n_layers: 0`` matrix factorization.

    Loss: ``rec_loss``, plus L2 of the batch's ids.

    Source: Zhang et al., "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021, its sections on
    modality-aware latent structure learning, graph convolutions, and the combination with collaborative filtering.

    Deviations:
        The graph is built in the first step of each epoch, and its gradient reaches the maps and the modalities'
        weights in that step alone; the epoch's other steps take it as it is. The paper does not say how often; its
        published code does the same. Evaluation builds it from the parameters evaluated.
        The gradient of a learned graph goes through the weights of the neighbors it keeps, not through which it keeps.
        Any number of modalities; items without features are in no graph.
        Features are data: the published code trains them too. It forms every similarity of two items at once; here
        similarities are formed by blocks of items, and memory is linear in the items.
        The loss is a mean over the batch where the paper sums.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.initial_graph_weight = float(config["initial_graph_weight"])
        self.transforms = self.feature_projections(int(config["feature_size"]))
        self.modality_logits = nn.Parameter(torch.empty(len(self.content.blocks)))
        self.reset_parameters()
        index, cosine = self.frozen_neighbors()
        initial = [normalized(near, weight) for near, weight in zip(index, cosine, strict=True)]
        self.register_buffer("initial_index", index, persistent=False)
        self.register_buffer("initial_weight", torch.stack(initial), persistent=False)
        self.graph: SparseMap | None = None

    def before_epoch(self) -> None:
        """Lets the epoch's first step build the graph."""
        self.graph = None

    def build_graph(self) -> tuple[SparseMap, Tensor]:
        """Returns the mixed graph [I, I] of the present parameters, and its entries [Z] with their gradient."""
        shares = self.modality_logits.softmax(dim=0).view(-1, 1, 1)
        index, weight = self._learned_graphs()
        mixed = [self.initial_graph_weight * shares * self.initial_weight]
        mixed += [(1 - self.initial_graph_weight) * shares * weight]
        return mixture(torch.cat([self.initial_index, index]), torch.cat(mixed))

    def _learned_graphs(self) -> tuple[Tensor, Tensor]:
        """Returns neighbors and normalized weights [M, I, k] by the features as they are transformed at present."""
        found = []
        for features, transform in zip(self.own_features(), self.transforms, strict=True):
            # a row without features stays without: the map's bias alone is nothing to be similar by
            table = transform(features) * (features.detach().abs().amax(dim=1, keepdim=True) > 0)
            index, cosine = content_neighbors(table, self.n_neighbors)
            found.append((index, normalized(index, learned_weights(table, index, cosine))))
        index, weight = (torch.stack(sides) for sides in zip(*found, strict=True))
        return index, weight

    def vectors(self, graph: SparseMap, entries: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns user [U, d] and item [I, d] vectors with an item-item graph, or with other entries of its pattern."""
        users, items = self.propagated(self.adjacency)
        alike = self.item_embedding.weight
        for _ in range(self.n_item_layers):
            alike = graph(alike, entries)
        return users, items + unit_rows(alike)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables with the graph of the present parameters."""
        return self.vectors(self.build_graph()[0])

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the loss of the batch; the first of an epoch builds the graph that the others use."""
        entries = None
        if self.graph is None:
            self.graph, entries = self.build_graph()
        users, items = self.vectors(self.graph, entries)
        return self.ranking_loss(users, items, interaction) + self.id_penalty(interaction)

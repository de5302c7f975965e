"""What LATTICE, FREEDOM and MGCN share: ids on the graph of users and items beside graphs of similar items.

Letters: U users, I items (row 0 of both is RecBole's padding), M modalities, D_m feature width of a modality,
d embedding width, k neighbors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.model.content_graph_cache import cached_neighbors
from recbole_painvrl.model.modality_recommender import ModalityRecommender
from recbole_painvrl.model.propagation import normalized_adjacency, propagate


class ContentGraphRecommender(ModalityRecommender):
    """Tables of ids, LightGCN's graph of users and items, and the nearest items by each modality.

    Subclasses add their parameters, call ``reset_parameters`` and only then :meth:`frozen_neighbors`: the vectors of
    words, which are learned, tell items apart from their initial values on, as these project the counts of words at
    random. ``n_layers: 0`` leaves the graph of users and items out and makes the backbone a matrix factorization.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers = int(config["n_layers"])
        self.n_item_layers = int(config["n_item_layers"])
        self.n_neighbors = int(config["graph_neighbors"])
        self.cache = Path(config["output_dir"]) / "cache"
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        adjacency = normalized_adjacency(self.train_users, self.train_items, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)

    @torch.no_grad()
    def frozen_neighbors(self) -> tuple[Tensor, Tensor]:
        """Returns the nearest items by each modality's present features and their cosines, both [M, I, k].

        Items without features of their own are in no graph: what stands in for them would join them to each other.
        """
        found = [cached_neighbors(table, self.n_neighbors, self.cache) for table in self.own_features()]
        index, cosine = (torch.stack(sides) for sides in zip(*found, strict=True))
        return index, cosine

    def feature_projections(self, size: int) -> nn.ModuleList:
        """Returns a linear map of each modality's features to ``size`` columns."""
        return nn.ModuleList(nn.Linear(block.stop - block.start, size) for block in self.content.blocks)

    def propagated(self, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the ids of users [U, d] and items [I, d], averaged over LightGCN's layers on a graph of both."""
        nodes = torch.cat([self.user_embedding.weight, self.item_embedding.weight])
        both = propagate(adjacency, nodes, self.n_layers)
        return both[: self.n_users], both[self.n_users :]

    def id_penalty(self, interaction: Any) -> Tensor | float:
        """Returns ``reg_weight`` times the mean squared length of the id vectors that a step touches, halved."""
        if not self.reg_weight:
            return 0.0
        return self.batch_penalty(self.user_embedding.weight, self.item_embedding.weight, interaction)

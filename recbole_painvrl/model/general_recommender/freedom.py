"""FREEDOM: a frozen graph of similar items and a user-item graph that is pruned anew in each epoch.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), M modalities, D_m feature width of a modality,
d embedding width, n distinct training pairs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.content_graph import binary, mixture, normalized
from recbole_painvrl.model.content_graph_recommender import ContentGraphRecommender
from recbole_painvrl.model.propagation import normalized_adjacency
from recbole_painvrl.model.sparse import distinct_pairs
from recbole_painvrl.model.transfer import column_on_host, moved


class FREEDOM(ContentGraphRecommender):
    """FREEDOM: LightGCN on sampled edges, plus the items' ids propagated over a graph made of content before training.

    Item-item graph: each modality joins an item to its ``graph_neighbors`` nearest (cosine), all with the weight 1;
    the graphs are normalized by their degrees, mixed by ``modality_weights`` and frozen. User-item graph: each epoch
    trains on a sample without replacement of ``1 - pruned_share`` of the edges, an edge's chance being proportional to
    ``1 / sqrt(d_u d_i)``; evaluation takes all of them. An item is the mean of the layers of the latter plus its id
    after ``n_item_layers`` steps over the former.

    Loss: ``rec_loss`` of these tables, plus ``modality_loss_weight`` (lambda) times, for each modality, the same loss
    of the users with the items' linearly projected features.

    Source: Zhou and Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
    Recommendation", ACM MM 2023, its sections on the frozen item-item graph, the denoised user-item graph, and the two
    graphs' integration.

    Deviations:
        The paper has two modalities, whose weights in the item-item graph are alpha and 1 - alpha; here there are any
        number, with weights in proportion to ``modality_weights``.
        The losses are means over the batch where the paper sums, so that no weight depends on the batch size.
        ``reg_weight`` (0 by default, as in the paper) adds an L2 term on the ids of the batch.
        Items of no or opposite similarity are no neighbors, however few others there are.
        Features are data: public ports train them, after the graphs were made of their first values, and keep those
        graphs under a name that says nothing of the features.
    """

    pruned: Tensor | None

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.pruned_share = float(config["pruned_share"])
        self.modality_loss_weight = float(config["modality_loss_weight"])
        self.projections = self.feature_projections(self.embedding_size)
        self.reset_parameters()
        self.register_buffer("pruned", None, persistent=False)
        self.edges = distinct_pairs(self.train_users, self.train_items, self.n_items)
        self.edge_weights = _edge_weights(*self.edges)
        index, cosine = self.frozen_neighbors()
        weights = modality_weights(config["modality_weights"], [block.name for block in self.content.blocks])
        frozen = [
            share * normalized(near, binary(weight)) for share, near, weight in zip(weights, index, cosine, strict=True)
        ]
        self.item_graph, _ = mixture(index, torch.stack(frozen))

    def before_epoch(self) -> None:
        """Draws the user-item graph of the epoch."""
        if not (self.pruned_share and self.n_layers):
            return
        kept = sample(self.edge_weights, round((1 - self.pruned_share) * len(self.edge_weights)), self.noise)
        user, item = (side[kept] for side in self.edges)
        self.pruned = normalized_adjacency(user, item, self.n_users, self.n_items).to(self.device)

    def vectors(self, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Returns user [U, d] and item [I, d] vectors on a user-item graph and the frozen item-item graph."""
        users, items = self.propagated(adjacency)
        alike = self.item_embedding.weight
        for _ in range(self.n_item_layers):
            alike = self.item_graph(alike)
        return users, items + alike

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables on the whole user-item graph."""
        return self.vectors(self.adjacency)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the loss of the batch on the epoch's user-item graph."""
        users, items = self.vectors(self.adjacency if self.pruned is None else self.pruned)
        loss = self.ranking_loss(users, items, interaction) + self.id_penalty(interaction)
        if not self.modality_loss_weight:
            return loss
        needed = self._needed_items(interaction)
        for features, projection in zip(self.features().values(), self.projections, strict=True):
            projected = projection(features[needed])
            table = projected.new_zeros(self.n_items, self.embedding_size).index_copy(0, needed, projected)
            loss = loss + self.modality_loss_weight * self.ranking_loss(users, table, interaction)
        return loss

    def _needed_items(self, interaction: Any) -> Tensor:
        """Returns the items whose content a batch's loss looks at: its own, or with a softmax every item."""
        if "negatives" not in interaction:
            return torch.arange(self.n_items, device=self.device)
        chosen, drawn = (column_on_host(interaction, field) for field in (self.ITEM_ID, "negatives"))
        return moved(torch.unique(torch.cat([chosen, drawn.flatten()])), self.device)


def modality_weights(given: dict[str, float] | None, names: list[str]) -> list[float]:
    """Returns the share of each modality in the item-item graph: in proportion to ``given``, or equal without it.

    Raises:
        UserError: if not exactly the data set's modalities are named, or a weight is negative, or all are 0.
    """
    if given is None:
        return [1 / len(names)] * len(names)
    if set(given) != set(names):
        raise UserError(f"modality_weights must name {', '.join(names)}, but names {', '.join(map(str, given))}")
    values = list(given.values())
    if not all(isinstance(value, (int, float)) and 0 <= value < float("inf") for value in values) or not sum(values):
        raise UserError(f"modality_weights must be numbers from 0 and not all 0, but got {given}")
    return [given[name] / sum(values) for name in names]


def _edge_weights(user: Tensor, item: Tensor) -> Tensor:
    """Returns 1 / sqrt(d_u d_i) of each distinct pair, double [n]."""
    return (torch.bincount(user)[user] * torch.bincount(item)[item]).double().rsqrt()


def sample(weights: Tensor, size: int, source: torch.Generator) -> Tensor:
    """Returns ``size`` places drawn without replacement in proportion to ``weights`` [n], in ascending order.

    The first of n exponential clocks to ring, each at the rate of its weight, is one in proportion to the weights, and
    so is the next among the rest. Unlike torch's multinomial it takes any number of places.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 2006.
    """
    clocks = torch.empty_like(weights).exponential_(generator=source) / weights
    return clocks.topk(size, largest=False).indices.sort().values

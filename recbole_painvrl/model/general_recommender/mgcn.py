"""MGCN: features purified by behavior, propagated in views of their own, and fused by what behavior prefers.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), M modalities, D_m feature width of a modality,
d embedding width, V distinct users or items of a batch.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.model.batch import terms_of, whole_batch
from recbole_painvrl.model.content_graph import mixture, normalized
from recbole_painvrl.model.content_graph_recommender import ContentGraphRecommender
from recbole_painvrl.model.loss import softmax_loss
from recbole_painvrl.model.sparse import distinct_pairs
from recbole_painvrl.model.sparse_map import SparseMap
from recbole_painvrl.model.transfer import column_on_host, moved, places
from recbole_painvrl.model.unit_rows import unit_rows


class MGCN(ContentGraphRecommender):
    """MGCN: LightGCN's ids plus a fusion of modalities that are kept apart until behavior has purified them.

    Purifier: ``id_i * sigmoid(W_2 (W_1 x_i + b_1) + b_2)`` in each modality. Views: ids by LightGCN over users and
    items; each modality by ``n_item_layers`` steps over its graph of the ``graph_neighbors`` nearest items (weighted by
    cosines, normalized), then to users by ``1 / sqrt(d_u d_i)``. Fuser: what the modalities share is their mean by
    attention ``softmax_m(q . tanh(W_4 e_m + b_4))``; what is left of each is multiplied by the preference
    ``sigmoid(W_3 id + b_3)`` and averaged. Scores are inner products of ids plus fusion.

    Loss: ``rec_loss``, plus L2 of the batch's ids, plus ``ssl_weight`` times the InfoNCE (cosines over ``ssl_tau``)
    that picks each user's and each item's own ids for its fusion.

    Source: Yu et al., "Multi-View Graph Convolutional Network for Multimedia Recommendation", ACM MM 2023, its sections
    on the behavior-guided purifier, the multi-view information encoder, the behavior-aware fuser, and optimization.

    Deviations:
        The InfoNCE compares the distinct users and items of the batch, each once, where the paper compares all; it is a
        mean over them. The ranking loss is a mean over the batch where the paper sums.
        Any number of modalities; items without features have nothing to propagate but what their neighbors have.
        Features are data: the published code trains them too.
    """

    loss_names = ("ranking", "alignment")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.ssl_weight, self.ssl_tau = float(config["ssl_weight"]), float(config["ssl_tau"])
        d, n_modalities = self.embedding_size, len(self.content.blocks)
        self.projections = self.feature_projections(d)
        self.gates = nn.ModuleList(nn.Linear(d, d) for _ in range(n_modalities))
        self.preferences = nn.ModuleList(nn.Linear(d, d) for _ in range(n_modalities))
        self.attention = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1, bias=False))
        self.reset_parameters()
        index, cosine = self.frozen_neighbors()
        self.item_graphs = nn.ModuleList(
            mixture(near[None], normalized(near, weight)[None])[0] for near, weight in zip(index, cosine, strict=True)
        )
        self.to_users = _users_of_items(self.train_users, self.train_items, self.n_users, self.n_items)

    def purified(self) -> list[Tensor]:
        """Returns each modality's item vectors [I, d]: the ids, as far as the features let them through."""
        parts = zip(self.features().values(), self.projections, self.gates, strict=True)
        return [self.item_embedding.weight * gate(project(table)).sigmoid() for table, project, gate in parts]

    def modality_views(self) -> list[Tensor]:
        """Returns each modality's vectors of users, then items [U + I, d]."""
        items = self.purified()
        for _ in range(self.n_item_layers):
            items = [graph(table) for graph, table in zip(self.item_graphs, items, strict=True)]
        users = self.to_users(torch.cat(items, dim=1)).split(self.embedding_size, dim=1)
        return [torch.cat(sides) for sides in zip(users, items, strict=True)]

    def fused(self, ids: Tensor, views: list[Tensor]) -> Tensor:
        """Returns what the modalities share and, as far as the ids prefer it, what each has of its own [U + I, d]."""
        share = torch.stack([self.attention(view) for view in views]).softmax(dim=0)
        shared = reduce(add, (part * view for part, view in zip(share, views, strict=True)))
        own = [(view - shared) * prefer(ids).sigmoid() for view, prefer in zip(views, self.preferences, strict=True)]
        return shared + reduce(add, own) / len(own)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Returns the ids and the fusion of users, then items, both [U + I, d]."""
        ids = torch.cat(self.propagated(self.adjacency))
        return ids, self.fused(ids, self.modality_views())

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables of users and of items."""
        both = add(*self.vectors())
        return both[: self.n_users], both[self.n_users :]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Returns the ranking loss with its L2 term, and the weighted alignment of ids and fusion."""
        ids, fusion = self.vectors()
        both = ids + fusion
        ranking = self.ranking_loss(both[: self.n_users], both[self.n_users :], interaction)
        batch, _ = whole_batch(interaction)
        users, items = (torch.unique(column_on_host(batch, field)) for field in (self.USER_ID, self.ITEM_ID))
        nodes = moved(users, self.device), moved(items + self.n_users, self.device)
        shares = [terms_of(interaction, len(side)) for side in nodes]
        parts = zip(nodes, shares, strict=True)
        alignment = reduce(add, (factor * self.alignment(fusion, ids, side, rows) for side, (rows, factor) in parts))
        return ranking + self.id_penalty(interaction), self.ssl_weight * alignment

    def alignment(self, fusion: Tensor, ids: Tensor, nodes: Tensor, rows: slice = slice(None)) -> Tensor:
        """Returns the mean InfoNCE of finding the ids of each of ``nodes`` [V] among theirs by its fusion.

        With ``rows`` it is the mean over these nodes alone.
        """
        own, place = places(len(nodes), nodes.device)
        anchors = unit_rows(fusion[nodes]) / self.ssl_tau
        return softmax_loss(anchors, unit_rows(ids[nodes]), own[rows], place[rows], own)


def _users_of_items(user: Tensor, item: Tensor, n_users: int, n_items: int) -> SparseMap:
    """Returns the map from items to users, [U, I], with the entries 1 / sqrt(d_u d_i) of the distinct pairs."""
    user, item = distinct_pairs(user, item, n_items)
    value = (torch.bincount(user)[user] * torch.bincount(item)[item]).to(torch.float32).rsqrt()
    return SparseMap(user, item, value, (n_users, n_items))

"""SLMRec: graph convolution by modality, fused, and contrasted from the finest space to the coarsest.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), M modalities, d embedding width,
V distinct items of a batch.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.model.batch import terms_of, whole_batch
from recbole_painvrl.model.loss import softmax_loss
from recbole_painvrl.model.modality_recommender import ModalityRecommender
from recbole_painvrl.model.propagation import normalized_adjacency, propagate
from recbole_painvrl.model.transfer import column_on_host, moved, places
from recbole_painvrl.model.unit_rows import unit_rows


class SLMRec(ModalityRecommender):
    """LightGCN once for the ids and once for each modality, fused by a linear layer, with modalities contrasted.

    All M + 1 graphs start from the same user vectors; their items are ids or linearly projected features. What comes
    out is set side by side and mapped to d columns, by one layer for users and one for items. Scores are cosines over
    ``temperature`` (inner products where it is ~).

    Self-supervision is the fine-and-coarse task: a chain over the modalities in the data's order. ids and the first
    modality are each mapped to a space of the two, the result and the second modality to a space of the three, and so
    on; in each space an item's two vectors shall find each other among the batch's items (InfoNCE of cosines over
    ``ssl_tau``). Loss: ``rec_loss + ssl_weight * sum of the chain's terms``, and an L2 term on the ids.

    Source: Tao, Liu, Xia, Wang, Yang, Huang and Chua, "Self-supervised Learning for Multimedia Recommendation", IEEE
    TMM 2022 (doi 10.1109/TMM.2022.3187556): its graph encoders by modality, fusion, and multi-modal pattern uncovering.

    Deviations:
        Of the paper's tasks only the fine-and-coarse one, which the authors' configuration chooses; feature dropout and
        feature masking are left out.
        The supervised loss is a softmax over all items (or ``n_negatives`` candidates), where the authors' code has one
        over the batch's items, in which a user's other items count as wrong.
        The contrast is between distinct items, so that none is its own negative; between cosines, where the code has
        inner products; and all spaces have d columns, where the last one of the code has half.
        A public port has no audio and scores by what the last training batch left behind.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers = int(config["n_layers"])
        self.temperature = config["temperature"]
        self.ssl_weight, self.ssl_tau = float(config["ssl_weight"]), float(config["ssl_tau"])
        size, widths = self.embedding_size, [block.stop - block.start for block in self.content.blocks]
        self.user_embedding = nn.Embedding(self.n_users, size)
        self.item_embedding = nn.Embedding(self.n_items, size)
        self.projections = nn.ModuleList(nn.Linear(width, size) for width in widths)
        self.fuse_users, self.fuse_items = (nn.Linear((len(widths) + 1) * size, size) for _ in range(2))
        self.to_coarser, self.from_modality = (nn.ModuleList(nn.Linear(size, size) for _ in widths) for _ in range(2))
        adjacency = normalized_adjacency(self.train_users, self.train_items, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.reset_parameters()

    def encoded(self) -> tuple[Tensor, Tensor]:
        """Returns the vectors of users [U, (M + 1) d] and items [I, (M + 1) d], ids first, then each modality's."""
        parts = zip(self.projections, self.features().values(), strict=True)
        items = torch.cat([self.item_embedding.weight, *(project(table) for project, table in parts)], dim=1)
        users = self.user_embedding.weight.repeat(1, len(self.projections) + 1)
        both = propagate(self.adjacency, torch.cat([users, items]), self.n_layers)
        return both[: self.n_users], both[self.n_users :]

    def scoring_tables(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables [U, d] and [I, d] that the encoded ones fuse to."""
        users, items = self.fuse_users(users), self.fuse_items(items)
        if self.temperature is None:
            return users, items
        return unit_rows(users) / self.temperature, unit_rows(items)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables of users and of items."""
        return self.scoring_tables(*self.encoded())

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the ranking loss, the weighted contrast and the L2 term."""
        users, items = self.encoded()
        loss = self.ranking_loss(*self.scoring_tables(users, items), interaction)
        if self.ssl_weight:
            present = moved(torch.unique(column_on_host(whole_batch(interaction)[0], self.ITEM_ID)), self.device)
            anchors, factor = terms_of(interaction, len(present))
            loss = loss + factor * self.ssl_weight * self.contrast(items[present], anchors)
        return loss + self.batch_penalty(self.user_embedding.weight, self.item_embedding.weight, interaction)

    def contrast(self, items: Tensor, rows: slice = slice(None)) -> Tensor:
        """Returns the sum over the chain of the mean InfoNCE of different items' encoded vectors [V, (M + 1) d].

        With ``rows`` it is the mean over these items alone, each of which is still to be found among all V.
        """
        present, *modalities = items.split(self.embedding_size, dim=1)
        own, place = places(len(items), items.device)
        terms = []
        for coarser, project, modality in zip(self.to_coarser, self.from_modality, modalities, strict=True):
            present = coarser(present)
            anchors, others = unit_rows(present) / self.ssl_tau, unit_rows(project(modality))
            terms.append(softmax_loss(anchors, others, own[rows], place[rows], own))
        return reduce(add, terms)

"""A recommender on item ids and item content: the part that UltraGCN, ERM and PaInvRL share.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), D total feature width,
d width of the id part, k width of the content part.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_painvrl.errors import one_of
from recbole_painvrl.model.abstract_recommender import MultimodalRecommender
from recbole_painvrl.model.content import ContentFeatures, Taken
from recbole_painvrl.model.new_items import NewItemNeighbors, neighbor_vectors, rows_by_user, user_profiles
from recbole_painvrl.model.objective import RankingObjective, check_loss
from recbole_painvrl.model.propagation import normalized_adjacency, propagate
from recbole_painvrl.model.spared import beside
from recbole_painvrl.model.touched import Gathered
from recbole_painvrl.model.transfer import moved
from recbole_painvrl.model.unit_rows import unit_rows
from recbole_painvrl.randomness import fill_normal, generator

BACKBONES = ("mf", "lightgcn")
NEW_ITEMS = ("id", "content", "neighbors")


class FusionRecommender(MultimodalRecommender):
    """Scores ``<P_u, [V_i ; W x_i + b]>``, directly or after LightGCN propagation, as inner product or cosine.

    An item without any training interaction has no id of its own to speak of. ``new_items: id`` uses what negatives
    have made of it, which a loss on raw scores needs: zero would outrank the items it has pushed below. With
    ``new_items: content`` it is scored by its content alone, which ``id_dropout`` makes training practice: in each step
    that share of the items is scored by content alone. With ``new_items: neighbors`` it takes the mean vector of the
    known items whose content is nearest, ``new_item_length`` times as long as known items' vectors are on average.

    At inference ``profile_weight`` (``new_item_profile_weight`` for new items) times the cosine of the item's content
    and the mean content of the user's training items is added: what two items have in common by content alone, which
    no trained projection of the content keeps entirely.

    Source: the score is InvRL's (UltraGCN on id and projected features); propagation is LightGCN's (He et al., SIGIR
    2020, equation 8); cosine scores at a temperature are those of SimpleX and of the softmax-loss literature.
    """

    projection: nn.Linear  # None where there is no content, whose vectors then nothing asks for

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.seed = int(config["seed"])
        self.embedding_size = int(config["embedding_size"])
        self.temperature = config["temperature"]
        self.id_dropout = float(config["id_dropout"])
        self.n_layers = self._layers(config)
        self.new_items = one_of("new_items", config["new_items"], NEW_ITEMS)
        self.new_item_neighbors = NewItemNeighbors(int(config["new_item_neighbors"]))
        self.new_item_length = float(config["new_item_length"])
        self.profile_weight = float(config["profile_weight"])
        self.new_item_profile_weight = float(config["new_item_profile_weight"])
        self.reg_weight = float(config["reg_weight"])
        self.projection_reg_weight = float(config["projection_reg_weight"])
        self.init_std = float(config["init_std"])
        user, item = self._training_pairs(dataset)
        some_new = torch.unique(item).numel() < self.n_items - 1
        self.compares = self.profiled or (self.new_items == "neighbors" and some_new)
        columns = self.profiled or config["mask_axes"] == "learned"
        self.content = ContentFeatures(dataset.modalities, config["feature_rotation"], self.compares, columns)
        self.feature_size = int(config["feature_size"]) if self.content.dimension else 0
        self.objective = RankingObjective(
            config, user, item, self.n_users, self.n_items, generator(self.seed, "candidates")
        )
        self.register_buffer("warm", torch.zeros(self.n_items, dtype=torch.bool), persistent=False)
        self.warm[item] = True
        new = torch.nonzero(~self.warm).squeeze(1)
        self.register_buffer("new", new[new > 0], persistent=False)
        if self.profiled:
            starts, order = rows_by_user(user, self.n_users)
            self.register_buffer("profile_starts", starts, persistent=False)
            self.register_buffer("profile_items", item[order], persistent=False)
        if self.n_layers:
            self.register_buffer(
                "adjacency", normalized_adjacency(user, item, self.n_users, self.n_items), persistent=False
            )
        self.dropout_generator = generator(self.seed, "id dropout")
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size + self.feature_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        project = nn.Linear(self.content.dimension, self.feature_size) if self.feature_size else None
        self.register_module("projection", project)
        self.reset_parameters()

    @staticmethod
    def _layers(config: Any) -> int:
        backbone = one_of("backbone", config["backbone"], BACKBONES)
        return int(config["n_layers"]) if backbone == "lightgcn" else 0

    def _training_pairs(self, dataset: Any) -> tuple[Tensor, Tensor]:
        return dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]

    @classmethod
    def loader_negatives(cls, config: Any) -> int:
        """Returns ``n_negatives`` for the losses that draw negatives row by row, else 0."""
        return 0 if check_loss(config) == "softmax" else int(config["n_negatives"])

    def reset_parameters(self) -> None:
        """Draws all parameters anew from the seed: tables N(0, init_std^2), biases 0, padding rows 0."""
        source = generator(self.seed, "parameters")
        with torch.no_grad():
            for parameter in self.parameters():
                self._reset(parameter, source)
            self.user_embedding.weight[0] = 0.0
            self.item_embedding.weight[0] = 0.0

    def _reset(self, parameter: Tensor, source: torch.Generator) -> None:
        if parameter.dim() < 2:
            parameter.zero_()
        else:
            fill_normal(parameter, self.init_std, source)

    def item_content(self, taken: Taken | None = None) -> Tensor:
        """Returns the content part of every item's vector [I, k], or of the ``taken`` ones [M, k]."""
        return self.content.project(self.projection.weight, self.projection.bias, taken=taken)

    def item_vectors(self, content: Tensor | None, touched: Gathered | None = None) -> Tensor:
        """Returns ``[V_i ; content_i]`` [I, d + k], or ``V_i`` [I, d] without content; of the touched items if given.

        Beside its content an item without a training interaction has no id part, unless ``new_items`` is ``id``: what
        its id has learned came from negatives alone.
        """
        own = self.item_embedding.weight if touched is None else touched.id_vectors
        if content is None:
            return own
        warm = self.warm if touched is None else self.warm[touched.items]
        return beside(own, None if self.new_items == "id" else warm, content)

    def propagated(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns user [U, d] and item [I, d] vectors after the backbone's layers; unchanged where it has none."""
        if not self.n_layers:
            return users, items
        both = propagate(self.adjacency, torch.cat([users, items]), self.n_layers)
        return both[: self.n_users], both[self.n_users :]

    def vectors(
        self, content: Tensor | None, dropped: Tensor | None = None, touched: Gathered | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the user [U, d + k] and item [I, d + k] vectors before any scaling to cosines.

        Args:
            content: content part of every item [I, k], or None without content.
            dropped: bool [I], the items that this training step scores by their content alone, or None.
            touched: users and items whose vectors alone are wanted, the content being theirs [M, k]; None for all.
                Nothing may be propagated then.
        """
        if touched is None:
            users, items = self.propagated(self.user_embedding.weight, self.item_vectors(content))
        else:
            users, items = touched.user_vectors, self.item_vectors(content, touched)
        if dropped is None or content is None:
            return users, items
        alone = F.pad(content, (self.embedding_size, 0)) / (1 + self.n_layers)
        dropped = dropped if touched is None else dropped[touched.items]
        return users, torch.where(dropped[:, None], alone, items)

    def scoring_tables(
        self, content: Tensor | None, dropped: Tensor | None = None, touched: Gathered | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the tables whose inner products are the scores: the vectors, or cosines over the temperature."""
        users, items = self.vectors(content, dropped, touched)
        if not self.temperature:
            return users, items
        return unit_rows(users) / self.temperature, unit_rows(items)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables of users and items, with the profile columns and new items at their places."""
        users, items = self.scoring_tables(self.item_content() if self.feature_size else None)
        if not (self.feature_size and self.compares):
            return users, items
        mask = self.similarity_mask()
        similar = self.content.similarity_features(mask) if self.profiled else None
        if len(self.new) and self.new_items == "neighbors":
            neighbors = self.new_item_neighbors(self.content, mask, self.new, self.warm, similar)
            items = items.index_copy(0, self.new, neighbor_vectors(*neighbors, items, self.warm, self.new_item_length))
        return (users, items) if similar is None else self._with_profiles(users, items, similar)

    @property
    def profiled(self) -> bool:
        """Whether scores have the profile term."""
        return bool(self.profile_weight or self.new_item_profile_weight)

    def similarity_mask(self) -> Tensor | None:
        """Returns the mask [D] under which contents are compared, or None for all of them, as here."""
        return None

    def _with_profiles(self, users: Tensor, items: Tensor, similar: Tensor) -> tuple[Tensor, Tensor]:
        profile = user_profiles(similar, self.profile_items, self.profile_starts)
        weight = torch.where(self.warm, self.profile_weight, self.new_item_profile_weight)
        columns = profile / self.temperature if self.temperature else profile
        return torch.cat([users, columns], dim=1), torch.cat([items, weight[:, None] * similar], dim=1)

    def dropped_items(self) -> Tensor | None:
        """Draws the items that this step scores by content alone, bool [I], or None where there is nothing to draw."""
        if not (self.training and self.id_dropout and self.feature_size):
            return None
        drawn = torch.rand(self.n_items, generator=self.dropout_generator) < self.id_dropout
        return moved(drawn, self.device)

    def calculate_loss(self, interaction: Any) -> Tensor | tuple[Tensor, ...]:
        """Returns the mean ranking loss of the batch."""
        touched = self.touched(interaction)
        content = self.item_content(taken=self.taken(touched)) if self.feature_size else None
        return self.ranking_loss(interaction, content, self.dropped_items(), touched)

    def touched(self, interaction: Any) -> Gathered | None:
        """Returns what a step on this batch looks at if these items are few, or None if it needs all of them."""
        found = None if self.n_layers else self.objective.touched(interaction)
        tables = self.user_embedding.weight, self.item_embedding.weight
        return None if found is None else Gathered.from_tables(found, *tables, sparse=self.row_gradients)

    def taken(self, touched: Gathered | None) -> Taken | None:
        """Returns the features of the touched items; None, which stands for all, if there are none to take."""
        return None if touched is None else self.content.taken(touched.items)

    def ranking_loss(
        self, interaction: Any, content: Tensor | None, dropped: Tensor | None, touched: Gathered | None = None
    ) -> Tensor:
        """Returns the mean ranking loss of the batch for the given content parts [I, k], or [M, k] of touched items."""
        users, items = self.scoring_tables(content, dropped, touched)
        return self.objective(users, items, interaction, interaction[self.USER_ID], interaction[self.ITEM_ID], touched)

    def parameter_groups(self) -> list[dict]:
        """Returns every embedding table by itself and the rest, each with the weight decay of its regularizer.

        The rest is shared by all interactions and adds ``projection_reg_weight |rest|^2`` to the loss.
        """
        tables = [self.user_embedding.weight, self.item_embedding.weight]
        rest = [p for p in self.parameters() if all(p is not table for table in tables)]
        groups = [{"params": [table], "weight_decay": self.table_decay(table)} for table in tables]
        return groups + ([{"params": rest, "weight_decay": 2 * self.projection_reg_weight}] if rest else [])

    def table_decay(self, table: Tensor) -> float:
        """Returns the weight decay of a table [n, d] that adds ``reg_weight`` times its rows' mean squared length."""
        return 2 * self.reg_weight / len(table)

    def generators(self) -> dict[str, torch.Generator]:
        """Returns the generators whose states a checkpoint has to keep."""
        return {"id dropout": self.dropout_generator, "candidates": self.objective.generator}

"""What the multimedia baselines share: features by modality, a ranking loss that can be chosen, seeded initial values.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), D total feature width, D_m width of a modality.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.abstract_recommender import MultimodalRecommender
from recbole_painvrl.model.content import ContentFeatures
from recbole_painvrl.model.objective import RankingObjective, check_loss
from recbole_painvrl.randomness import generator


class ModalityRecommender(MultimodalRecommender):
    """A recommender on the features of any number of modalities, trained with the loss that ``rec_loss`` names.

    Subclasses make their parameters, call :meth:`reset_parameters` once, and implement ``tables`` and
    ``calculate_loss``. Whatever is drawn at random in training comes from :attr:`noise`. A model whose loss is its own,
    so that ``rec_loss`` does not apply, says so by ``own_loss``.

    Raises:
        UserError: if the model needs features and the data set has no modality.
    """

    needs_modalities = True
    own_loss = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.seed = int(config["seed"])
        self.embedding_size = int(config["embedding_size"])
        self.reg_weight = float(config["reg_weight"])
        self.content = ContentFeatures(dataset.modalities if self.needs_modalities else {}, similarity=False)
        if self.needs_modalities and not self.content.dimension:
            raise UserError(
                f"{type(self).__name__} needs item features, but the data set {config['dataset']} has no modality; "
                "name some under the key 'modalities' (README, 'Your own features')"
            )
        self.train_users, self.train_items = dataset.inter_feat[self.USER_ID], dataset.inter_feat[self.ITEM_ID]
        self.objective = None if self.own_loss else self._objective(config)
        self.noise = generator(self.seed, "noise")

    def _objective(self, config: Any) -> RankingObjective:
        drawn = generator(self.seed, "candidates")
        return RankingObjective(config, self.train_users, self.train_items, self.n_users, self.n_items, drawn)

    @classmethod
    def loader_negatives(cls, config: Any) -> int:
        """Returns ``n_negatives`` for the losses that draw negatives row by row, else 0."""
        return 0 if cls.own_loss or check_loss(config) == "softmax" else int(config["n_negatives"])

    def features(self) -> dict[str, Tensor]:
        """Returns the features [I, D_m] of each modality by name; those of words are differentiable."""
        table = self.content()
        return {block.name: table[:, block.start : block.stop] for block in self.content.blocks}

    def own_features(self) -> list[Tensor]:
        """Returns the features [I, D_m] of each modality, with rows of zeros where an item has none of its own."""
        tables = zip(self.features().values(), self.content.present, strict=True)
        return [table if bool(own[1:].all()) else table * own.to(table.device)[:, None] for table, own in tables]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws all parameters anew from the seed: matrices by Glorot's uniform rule, biases and padding rows 0."""
        source = generator(self.seed, "parameters")
        for parameter in self.parameters():
            if parameter.dim() < 2:
                parameter.zero_()
            else:
                nn.init.xavier_uniform_(parameter, generator=source)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                module.weight[0] = 0.0

    def ranking_loss(self, users: Tensor, items: Tensor, interaction: Any) -> Tensor:
        """Returns the mean loss a training interaction, a scalar, of the scoring tables [U, d] and [I, d]."""
        assert self.objective is not None, "a model with a loss of its own has no ranking objective"
        return self.objective(users, items, interaction, interaction[self.USER_ID], interaction[self.ITEM_ID])

    def batch_penalty(self, users: Tensor, items: Tensor, interaction: Any) -> Tensor:
        """Returns ``reg_weight`` times the batch's mean squared length of user, item and negative rows, halved.

        Source: the L2 term of Rendle et al., "BPR", UAI 2009, on the rows that a step touches.
        """
        rows = [users[interaction[self.USER_ID]], items[interaction[self.ITEM_ID]]]
        if "negatives" in interaction:
            rows.append(items[interaction["negatives"]].flatten(1))
        return self.reg_weight * reduce(add, (part.square().sum() for part in rows)) / (2 * len(interaction))

    def generators(self) -> dict[str, torch.Generator]:
        """Returns the generators whose states a checkpoint has to keep."""
        drawn = {} if self.objective is None else {"candidates": self.objective.generator}
        return {**drawn, "noise": self.noise}

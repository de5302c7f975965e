"""MF: matrix factorization on ids alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.model.modality_recommender import ModalityRecommender
from recbole_painvrl.model.unit_rows import unit_rows
from recbole_painvrl.randomness import fill_normal, generator


class MF(ModalityRecommender):
    """Matrix factorization: scores ``<p_u, q_i>``, or their cosine over ``temperature``; no modality is read.

    It is what ``ERM`` with ``modalities: {}`` computes, to the same numbers, under a name of its own.

    Source: Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 2009, for the
    score; by default the loss is the softmax over all items, as in Wu et al., "On the Effectiveness of Sampled Softmax
    Loss for Item Recommendation", TOIS 2024, equation 4.

    Deviations: no biases, and implicit feedback instead of ratings; the loss is a mean over the batch, and
    ``reg_weight`` times the mean squared length of the users' and of the items' rows is added to it.
    """

    needs_modalities = False
    uses_modalities = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.temperature = config["temperature"]
        self.init_std = float(config["init_std"])
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws both tables anew from the seed: N(0, init_std^2), padding rows 0."""
        source = generator(self.seed, "parameters")
        for table in self.parameters():
            fill_normal(table, self.init_std, source)
            table[0] = 0.0

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the vectors of users [U, d] and items [I, d], at a temperature those whose products are cosines."""
        users, items = self.user_embedding.weight, self.item_embedding.weight
        if not self.temperature:
            return users, items
        return unit_rows(users) / self.temperature, unit_rows(items)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the mean ranking loss of the batch."""
        return self.ranking_loss(*self.tables(), interaction)

    def parameter_groups(self) -> list[dict]:
        """Returns both tables, each with the weight decay of its regularizer."""
        return [{"params": [table], "weight_decay": 2 * self.reg_weight / len(table)} for table in self.parameters()]

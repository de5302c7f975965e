"""VBPR: matrix factorization with factors and biases of the item features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.model.modality_recommender import ModalityRecommender


class VBPR(ModalityRecommender):
    """Visual Bayesian personalized ranking, for any number of modalities.

    Scores ``beta_i + <gamma_u, gamma_i> + <theta_u, E f_i> + <beta', f_i>`` (equation 4; what depends on the user alone
    ranks nothing and is left out), where f_i are the features of all modalities side by side.

    Source: He and McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI 2016.

    Deviations: several modalities are concatenated (the paper has images alone); Adam instead of stochastic gradient
    descent; ``reg_weight`` acts on the gamma, theta and item bias that a batch touches, while E and beta' are not
    regularized. A public port leaves out both biases; here they are.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        feature_size = int(config["feature_size"])
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size + feature_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        self.item_bias = nn.Parameter(torch.empty(self.n_items))
        self.projection = nn.Linear(self.content.dimension, feature_size, bias=False)
        self.feature_bias = nn.Parameter(torch.empty(self.content.dimension))
        self.reset_parameters()

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns ``[gamma_u ; theta_u ; 1]`` and ``[gamma_i ; E f_i ; beta_i + <beta', f_i>]``."""
        users, features = self.user_embedding.weight, self.content()
        bias = self.item_bias + features @ self.feature_bias
        items = torch.cat([self.item_embedding.weight, self.projection(features), bias[:, None]], dim=1)
        return torch.cat([users, users.new_ones(len(users), 1)], dim=1), items

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the mean ranking loss of the batch and the L2 term of its users and items."""
        own = torch.cat([self.item_embedding.weight, self.item_bias[:, None]], dim=1)
        penalty = self.batch_penalty(self.user_embedding.weight, own, interaction)
        return self.ranking_loss(*self.tables(), interaction) + penalty

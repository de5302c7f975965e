"""Ranking losses and their derivatives by each score, for rows that share one set of candidates.

A loss answers with the value of every row and with the coefficients ``dl/ds`` of its positive and of each candidate.
The gradient by a projection is then a dense product of the coefficients with users and features, and needs no graph. E
environments, B rows of each, N candidates shared by all rows, U users, I items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class EnvironmentBatch:
    """Rows of every environment and the candidates they all share.

    Attributes:
        users: [E, B] user of each row.
        items: [E, B] item of each row.
        weights: [E, B] share of a row in its environment's mean: each environment's add up to 1, padding has 0.
        candidates: [N] items every row's own item is compared with.
    """

    users: Tensor
    items: Tensor
    weights: Tensor
    candidates: Tensor


@dataclass(frozen=True)
class PairTerms:
    """Value and derivatives of a loss, a row at a time.

    Attributes:
        loss: [E, B] loss of each row.
        positive: [E, B] derivative by the score of the row's own item.
        negative: [E, B, N] derivative by the score of each candidate.
    """

    loss: Tensor
    positive: Tensor
    negative: Tensor


class PairLoss(Protocol):
    """A loss of a row's own score against the scores of the candidates."""

    def __call__(self, positive: Tensor, negative: Tensor, batch: EnvironmentBatch) -> PairTerms:
        """Returns the terms for scores ``positive`` [E, B] and ``negative`` [E, B, N]."""


@dataclass(frozen=True)
class UltraGCNLoss:
    """Binary cross entropy weighted by degrees: ``w+ softplus(-s_i) + R mean_j w-_j softplus(s_j)``.

    With ``beta_ui = user_factor_u * item_factor_i`` the weights are ``w+ = w1 + w2 beta_ui`` and
    ``w- = w3 + w4 beta_uj``.

    Attributes:
        user_factor: [U] sqrt(degree + 1) / degree.
        item_factor: [I] 1 / sqrt(degree + 1).
        constants: (w1, w2, w3, w4).
        negative_weight: R.

    Source: Mao et al., "UltraGCN: Ultra simplification of graph convolutional networks for recommendation", 2021.
    """

    user_factor: Tensor
    item_factor: Tensor
    constants: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    negative_weight: float = 1.0

    @classmethod
    def from_interactions(
        cls,
        users: Tensor,
        items: Tensor,
        n_users: int,
        n_items: int,
        constants: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        negative_weight: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> UltraGCNLoss:
        """Returns the loss with factors from the degrees of these interactions [n]; tables of n_users and n_items rows.

        A user without any interaction counts as one of degree 1, so that its factor is finite.
        """
        user_degree = torch.bincount(users, minlength=n_users).to(dtype)
        item_degree = torch.bincount(items, minlength=n_items).to(dtype)
        user_factor = (user_degree + 1).sqrt() / user_degree.clamp(min=1)
        return cls(user_factor, (item_degree + 1).rsqrt(), constants, negative_weight)

    def __call__(self, positive: Tensor, negative: Tensor, batch: EnvironmentBatch) -> PairTerms:
        """Returns the terms for scores ``positive`` [E, B] and ``negative`` [E, B, N]."""
        w1, w2, w3, w4 = self.constants
        of_user = self.user_factor[batch.users]
        up = w1 + w2 * of_user * self.item_factor[batch.items]
        down = w3 + w4 * of_user[..., None] * self.item_factor[batch.candidates]
        down = down * (self.negative_weight / negative.shape[-1])
        loss = up * softplus(-positive) + (down * softplus(negative)).sum(dim=-1)
        return PairTerms(loss, -up * torch.sigmoid(-positive), down * torch.sigmoid(negative))


@dataclass(frozen=True)
class SoftmaxLoss:
    """Negative log-likelihood of the row's item among itself and the candidates; coefficients ``p_j - 1[j = i]``.

    A candidate that is the row's own item is left out of that row, so with all items as candidates this is the full
    softmax.

    Attributes:
        candidate_weight: How many items each candidate stands for in the normalizer; items / candidates makes the
            normalizer of a sample unbiased, 1 is the plain sampled softmax.
    """

    candidate_weight: float = 1.0

    def __call__(self, positive: Tensor, negative: Tensor, batch: EnvironmentBatch) -> PairTerms:
        """Returns the terms for scores ``positive`` [E, B] and ``negative`` [E, B, N]."""
        own = batch.items[..., None] == batch.candidates
        others = (negative + math.log(self.candidate_weight)).masked_fill(own, -math.inf)
        normalizer = torch.logaddexp(torch.logsumexp(others, dim=-1), positive)
        share = torch.exp(others - normalizer[..., None])
        return PairTerms(normalizer - positive, torch.exp(positive - normalizer) - 1, share)


@dataclass(frozen=True)
class BPRLoss:
    """Bayesian personalized ranking, ``mean_j softplus(s_j - s_i)``.

    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009.
    """

    def __call__(self, positive: Tensor, negative: Tensor, batch: EnvironmentBatch) -> PairTerms:
        """Returns the terms for scores ``positive`` [E, B] and ``negative`` [E, B, N]."""
        gap = negative - positive[..., None]
        share = torch.sigmoid(gap) / negative.shape[-1]
        return PairTerms(softplus(gap).mean(dim=-1), -share.sum(dim=-1), share)

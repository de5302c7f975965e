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


Scores = tuple[Tensor, Tensor]  # of each row's own item [E, B] and of the candidates [E, B, N]


class PairLoss(Protocol):
    """A loss of a row's own score against the scores of the candidates."""

    def __call__(self, positive: Tensor, negative: Tensor, batch: EnvironmentBatch) -> PairTerms:
        """Returns the terms for scores ``positive`` [E, B] and ``negative`` [E, B, N]."""

    def curvature(self, scores: Scores, change: Scores, terms: PairTerms, batch: EnvironmentBatch) -> Scores:
        """Returns how the derivatives of ``terms`` change where the scores do: second derivatives times ``change``.

        Args:
            scores: Scores that the terms were made of, [E, B] and [E, B, N].
            change: Change of the scores, in the same shapes.
            terms: The terms at these scores.
            batch: The rows.
        """


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

        A pair counts once, however often it is there, as in the recommender's own loss. A user without any interaction
        counts as one of degree 1, so that its factor is finite.
        """
        pairs = torch.unique(users * n_items + items)
        users, items = pairs // n_items, pairs % n_items
        user_degree = torch.bincount(users, minlength=n_users).to(dtype)
        item_degree = torch.bincount(items, minlength=n_items).to(dtype)
        user_factor = (user_degree + 1).sqrt() / user_degree.clamp(min=1)
        return cls(user_factor, (item_degree + 1).rsqrt(), constants, negative_weight)

    def __call__(self, positive: Tensor, negative: Tensor, batch: EnvironmentBatch) -> PairTerms:
        """Returns the terms for scores ``positive`` [E, B] and ``negative`` [E, B, N]."""
        w1, w2, w3, w4 = self.constants
        of_user, share = self.user_factor[batch.users], self.negative_weight / negative.shape[-1]
        up = w1 + w2 * of_user * self.item_factor[batch.items]
        down = (share * w4 * of_user)[..., None] * self.item_factor[batch.candidates] + share * w3
        loss = up * softplus(-positive) + (down * softplus(negative)).sum(dim=-1)
        return PairTerms(loss, -up * torch.sigmoid(-positive), down * torch.sigmoid(negative))

    def curvature(self, scores: Scores, change: Scores, terms: PairTerms, batch: EnvironmentBatch) -> Scores:
        """Returns the second derivatives times ``change``: ``(1 - sigmoid)`` of each first derivative."""
        positive = -terms.positive * torch.sigmoid(scores[0]) * change[0]
        negative = terms.negative * change[1]
        return positive, negative.addcmul_(negative, torch.sigmoid(scores[1]), value=-1)


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
        weight = math.log(self.candidate_weight)
        top = torch.maximum(negative.detach().amax(dim=-1) + weight, positive.detach())
        others = negative - (top - weight)[..., None]
        others[_own(batch)] = -math.inf
        others, own = torch.exp(others), torch.exp(positive - top)
        total = others.sum(dim=-1) + own
        return PairTerms(top + total.log() - positive, own / total - 1, others / total[..., None])

    def curvature(self, scores: Scores, change: Scores, terms: PairTerms, batch: EnvironmentBatch) -> Scores:
        """Returns the second derivatives times ``change``: each share times the change's distance from its mean."""
        own = terms.positive + 1
        negative = terms.negative * change[1]
        mean = own * change[0] + negative.sum(dim=-1)
        return own * (change[0] - mean), negative.addcmul_(terms.negative, mean[..., None], value=-1)


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

    def curvature(self, scores: Scores, change: Scores, terms: PairTerms, batch: EnvironmentBatch) -> Scores:
        """Returns the second derivatives times ``change``, those of each gap between candidate and own item."""
        share, number = terms.negative, scores[1].shape[-1]
        negative = (change[1] - change[0][..., None]).mul_(share)
        negative.addcmul_(negative, share, value=-number)
        return -negative.sum(dim=-1), negative


def _own(batch: EnvironmentBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Where a candidate is the row's own item: indices into [E, B, N].

    Candidates are different items, so that a search among them is quicker than comparing every row with each.
    """
    ordered, order = batch.candidates.sort()
    place = torch.searchsorted(ordered, batch.items).clamp_max(len(ordered) - 1)
    environment, row = (ordered[place] == batch.items).nonzero(as_tuple=True)
    return environment, row, order[place[environment, row]]

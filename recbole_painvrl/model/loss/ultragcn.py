"""The loss of UltraGCN: weighted binary cross-entropy of a chosen item against sampled ones.

Letters: U users, I items, d embedding width, B batch, N negatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.loss.scores import mean_over_rows, positive_first, sampled_scores
from recbole_painvrl.model.sparse import distinct_pairs


class UltraGCNWeights(nn.Module):
    """The weights w1 + w2 beta_ui of chosen and w3 + w4 beta_uj of sampled pairs, with beta_ui = user[u] * item[i].

    Args:
        user: Factor of each user [U].
        item: Factor of each item [I].
        terms: w1, w2, w3 and w4.
    """

    user: Tensor
    item: Tensor

    def __init__(self, user: Tensor, item: Tensor, terms: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("user", user, persistent=False)
        self.register_buffer("item", item, persistent=False)
        self.chosen, self.sampled = tuple(terms[:2]), tuple(terms[2:])

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Returns the weights [B, 1 + N] of ``user`` [B] with ``item`` [B, 1 + N], the chosen item first."""
        beta = self.user[user].unsqueeze(1) * self.item[item]
        for part, (constant, slope) in ((beta[:, :1], self.chosen), (beta[:, 1:], self.sampled)):
            part.mul_(slope).add_(constant)
        return beta


def ultragcn_weights(
    user: Tensor, item: Tensor, n_users: int, n_items: int, terms: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> UltraGCNWeights:
    """Returns the weights that follow from the degrees in the training interactions (``user`` [n], ``item`` [n]).

    ``beta_ui = sqrt(d_u + 1) / d_u / sqrt(d_i + 1)``. A pair that occurs twice counts once. A user without interactions
    has the factor 0: no training pair is theirs, and the limit would be infinite.

    Raises:
        UserError: If ``terms`` are not four numbers.

    Source: Mao et al., "UltraGCN: Ultra Simplification of Graph Convolutional Networks for Recommendation", CIKM 2021,
    equations 7 and 10.
    """
    if len(terms) != 4:
        raise UserError(f"loss_weights must be the four numbers w1 to w4, but got {list(terms)!r}")
    user, item = distinct_pairs(user, item, n_items)
    user_degree = torch.bincount(user, minlength=n_users).to(torch.float32)
    item_degree = torch.bincount(item, minlength=n_items).to(torch.float32)
    user_factor = torch.where(user_degree > 0, (user_degree + 1).sqrt() / user_degree.clamp(min=1), 0.0)
    return UltraGCNWeights(user_factor, (item_degree + 1).rsqrt(), [float(term) for term in terms])


def ultragcn_loss(
    users: Tensor,
    items: Tensor,
    user: Tensor,
    positive: Tensor,
    negatives: Tensor,
    weights: UltraGCNWeights | None = None,
    negative_weight: float = 1.0,
) -> Tensor:
    """Returns the mean over the batch of w⁺ softplus(-s_ui) + R mean_j w⁻ softplus(s_uj).

    Args:
        users: User vectors [U, d].
        items: Item vectors [I, d].
        user: User of each row [B].
        positive: Item that the user chose [B].
        negatives: Sampled items [B, N], or [B] for one a row.
        weights: Weights of the pairs; None weighs every pair by 1.
        negative_weight: R, the weight of the sampled part. InvRL uses 1, UltraGCN 75 to 1000.

    Note:
        The published code of UltraGCN and InvRL sums over the batch: that is B times this value. With the mean, neither
        the learning rate nor the weight decay has to follow the batch size.

    Source: Mao et al., UltraGCN, CIKM 2021, equations 8 to 10.
    """
    item = positive_first(positive, negatives)
    scores = sampled_scores(users, items, user, item)
    losses = functional.softplus(scores * _signs(item.shape[1], scores))
    if weights is not None:
        losses = losses * weights(user, item).to(losses.dtype)
    n_negatives = max(item.shape[1] - 1, 1)
    return mean_over_rows(losses[:, 0] + losses[:, 1:].sum(dim=1) * (negative_weight / n_negatives))


def _signs(n_columns: int, like: Tensor) -> Tensor:
    """Returns -1 for the chosen item in the first of [1 + N] columns and 1 for the sampled ones."""
    signs = like.new_ones(n_columns)
    signs[0] = -1.0
    return signs

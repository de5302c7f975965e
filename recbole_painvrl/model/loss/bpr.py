"""Bayesian personalized ranking over sampled items."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from recbole_painvrl.model.loss.scores import mean_over_rows, positive_first, sampled_scores


def bpr_loss(users: Tensor, items: Tensor, user: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    """Returns the mean of -log sigmoid(s_ui - s_uj) over the rows of the batch and their negatives.

    Args:
        users: User vectors [U, d].
        items: Item vectors [I, d].
        user: User of each row [B].
        positive: Item that the user chose [B].
        negatives: Items to rank below it [B, N], or [B] for one a row.

    Source: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, section 4.1.
    """
    scores = sampled_scores(users, items, user, positive_first(positive, negatives))
    return mean_over_rows(functional.softplus(scores[:, 1:] - scores[:, :1]).mean(dim=1))

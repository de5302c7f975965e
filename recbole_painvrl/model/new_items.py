"""Content compared directly: neighbors for items that nobody has interacted with yet, and profiles of users.

Letters: U users, I items, n interactions, D feature width, d width of the scoring table, C new items, K neighbors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_painvrl.model.neighbors import neighbor_graph


def neighbor_vectors(features: Tensor, table: Tensor, new: Tensor, known: Tensor, n_neighbors: int) -> Tensor:
    """Returns for each new item the mean scoring vector [C, d] of the known items whose content is nearest.

    Neighbors weigh by the positive part of the cosine of their features. The mean is scaled to the mean length of the
    known items' vectors, since averaging shortens; an item without any similar one gets zeros.

    Args:
        features: item features [I, D].
        table: scoring vectors of all items [I, d].
        new: indices of the new items [C], at least one.
        known: bool [I], the items to learn from.
        n_neighbors: K.
    """
    index, weight = neighbor_graph(features, n_neighbors, rows=new, pool=known)
    mean = (table[index] * weight.clamp_min(0).unsqueeze(2)).sum(dim=1)
    return F.normalize(mean, dim=1) * table[known].norm(dim=1).mean()


def rows_by_user(user: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Returns where each user's rows begin [U] once the rows are ordered by user, and that order [n]."""
    counts = torch.bincount(user, minlength=n_users)
    return counts.cumsum(0) - counts, torch.argsort(user, stable=True)


def user_profiles(features: Tensor, items: Tensor, starts: Tensor) -> Tensor:
    """Returns the mean content of each user's items [U, D], scaled to unit length; zeros for a user without any.

    Args:
        features: item features [I, D].
        items: the interactions' items in order of user [n].
        starts: where each user's items begin [U].
    """
    return F.normalize(F.embedding_bag(items, features, starts, mode="mean"), dim=1)

"""Recommenders trained on planted data in a second, so that the method has tables to freeze."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_painvrl.invariance import FrozenRecommender, Interactions
from tests.planted import Planted, plant

WIDTH = 16
DECAY = 1e-3


@dataclass(frozen=True)
class Study:
    """Planted training data with a recommender trained on them; row 0 of users and items is padding.

    Attributes:
        planted: The planted data.
        frozen: Trained tables.
        projection: [k, D] trained projection.
        interactions: Training interactions.
        labels: [n] true environments.
        sessions: [n] number of the (user, environment) pair.
    """

    planted: Planted
    frozen: FrozenRecommender
    projection: Tensor
    interactions: Interactions
    labels: Tensor
    sessions: Tensor


def study(recipe: str, seed: int, **sizes: int) -> Study:
    """Plants data and trains a recommender on all environments together."""
    planted = plant(recipe, seed, **sizes)
    rows = planted.splits == "train"
    users, items = torch.tensor(planted.users[rows]) + 1, torch.tensor(planted.items[rows]) + 1
    labels = torch.tensor(planted.environments[rows])
    features = torch.zeros(planted.n_items + 1, planted.all_features.shape[1])
    features[1:] = torch.tensor(planted.all_features)
    interactions = Interactions(users, items)
    frozen, projection = train(interactions, planted.n_users + 1, features, torch.Generator().manual_seed(seed))
    return Study(planted, frozen, projection, interactions, labels, users * (int(labels.max()) + 1) + labels)


def train(
    interactions: Interactions, n_users: int, features: Tensor, generator: torch.Generator, steps: int = 150
) -> tuple[FrozenRecommender, Tensor]:
    """Fits a full softmax over the items with weight decay; returns the tables and the projection."""
    n_items, n_columns = features.shape
    shapes = [(n_users, WIDTH), (n_users, WIDTH), (n_items, WIDTH), (WIDTH, n_columns)]
    tables = [(0.1 * torch.randn(*shape, generator=generator)).requires_grad_() for shape in shapes]
    user_id, user_feature, item_id, projection = tables
    counts = torch.zeros(n_users, n_items).index_put_(
        (interactions.users, interactions.items), torch.tensor(1.0), accumulate=True
    )
    optimizer = torch.optim.Adam(tables, lr=0.05)
    for _ in range(steps):
        scores = user_id @ item_id.T + user_feature @ (projection @ features.T)
        likelihood = (counts[:, 1:] * scores[:, 1:].log_softmax(dim=1)).sum()
        decay = sum(table.square().sum() for table in tables)
        optimizer.zero_grad()
        (DECAY * decay - likelihood / len(interactions)).backward()
        optimizer.step()
    frozen = FrozenRecommender(user_id.detach(), user_feature.detach(), item_id.detach(), features)
    return frozen, projection.detach()

"""Tables of five users and five items, small enough to work results out the long way."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_painvrl.invariance import FrozenRecommender, Interactions
from recbole_painvrl.invariance.reference_choices import ReferenceChoices

USERS = torch.tensor([1, 2, 3, 4, 5, 1, 2, 3, 4])
ITEMS = torch.tensor([1, 2, 3, 4, 1, 2, 3, 5, 5])
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])


def tables(dtype: torch.dtype = torch.float64) -> FrozenRecommender:
    """5 users, 5 items, identity and content parts of 2, 3 columns."""
    source = torch.Generator().manual_seed(3)
    shapes = [(6, 2), (6, 2), (6, 2), (6, 3)]
    return FrozenRecommender(*(torch.randn(*shape, generator=source).to(dtype) for shape in shapes))


def projection() -> Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def dense_scores(frozen: FrozenRecommender, weights: Tensor) -> Tensor:
    return frozen.user_id @ frozen.item_id.T + frozen.user_feature @ (frozen.features @ weights.T).T


def whole_scores(
    model: ReferenceChoices, choices: Interactions, made_up: int = 0, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Scores [n, D] of all choices, then of each set of made-up ones."""
    found, rows = model.scores(choices, made_up, generator), torch.arange(len(choices))
    return [found.of(number, rows) for number in range(1 + made_up)]

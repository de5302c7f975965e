"""The choices that one recommender would make, and the scores of real and made-up choices by the columns' factors.

Letters: U' users, N judges, D columns, n choices, r directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .likelihood import BLOCK, dots
from .sampling import Interactions


class ReferenceChoices:
    """Choice probabilities of one recommender on the judges [N], and the scores of choices by the columns' factors.

    A choice of item i by user u has the score ``(1 - p_ui) * taste_u * (x_i - mean over p_u of x)`` [D]: the derivative
    of its log-likelihood by a factor of each column of the features.
    """

    def __init__(self, frozen: FrozenRecommender, projection: Tensor, judges: Tensor) -> None:
        """Projects the items; users are worked on in blocks."""
        self.frozen, self.projection, self.judges = frozen, projection, judges
        self.content = frozen.features @ projection.T
        self.features = frozen.features[judges]
        self.judged_id, self.judged_content = frozen.item_id[judges].T, self.content[judges].T
        self.drawn = torch.zeros(frozen.n_items + 1, dtype=torch.bool, device=judges.device)
        self.drawn[judges] = True

    def scores(self, choices: Interactions, made_up: int = 0, generator: torch.Generator | None = None) -> ChoiceScores:
        """Returns the scores of the choices and of ``made_up`` S times as many of the recommender's own.

        Only the items are kept of what is made up: a table of scores [n, D] may be a large part of the memory.

        Raises:
            ValueError: Choices are to be made up, and there is no generator.
        """
        level = _levels(made_up, len(choices), generator).to(choices.users.device)
        users, place, counts = torch.unique(choices.users, return_inverse=True, return_counts=True)
        order, ends = torch.argsort(place, stable=True), counts.cumsum(0)
        mean, normalizer = (
            self.features.new_empty(len(users), self.features.shape[1]),
            self.content.new_empty(len(users)),
        )
        drawn = torch.empty(made_up, len(choices), dtype=torch.long, device=place.device)
        for first, last in runs(len(self.judges) + made_up * counts):
            share, normalizer[first:last] = self._shares(users[first:last])
            mean[first:last] = share @ self.features
            rows = order[ends[first] - counts[first] : ends[last - 1]]
            drawn[:, rows] = self.judges[_draw(share, place[rows] - first, level[:, rows])]
        taste = self.frozen.user_feature[users] @ self.projection
        left = 1 - self._own_share(choices, normalizer[place])
        return ChoiceScores(taste, mean, place, self.frozen.features, [choices.items, *drawn], left)

    def along(self, choices: Interactions, directions: Tensor) -> Tensor:
        """Returns the scores of the choices along ``directions`` [r, D], [n, r], without a row of D for each of them.

        ``<taste_u * direction, x>`` is the score of x under the projection times the direction.
        """
        user_feature, turned = self.frozen.user_feature, self.projection * directions[:, None]
        own = torch.stack([dots(user_feature, self.frozen.features @ one.T, choices) for one in turned], dim=1)
        judged = torch.cat([self.features @ one.T for one in turned], dim=1)
        users, place = torch.unique(choices.users, return_inverse=True)
        means, normalizer = own.new_empty(len(users), len(turned)), self.content.new_empty(len(users))
        for first, last in runs(torch.full_like(users, len(self.judges) + judged.shape[1])):
            share, normalizer[first:last] = self._shares(users[first:last])
            mean = (share @ judged).unflatten(1, (len(turned), -1))
            means[first:last] = (user_feature[users[first:last], None] * mean).sum(dim=2)
        return own.sub_(means[place]).mul_((1 - self._own_share(choices, normalizer[place]))[:, None])

    def _shares(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Choice probabilities [U', N] among the judges, and the logarithm of all items' normalizer [U']."""
        scores = self.frozen.user_id[users] @ self.judged_id + self.frozen.user_feature[users] @ self.judged_content
        log_normalizer = scores.logsumexp(dim=1)
        scale = math.log(self.frozen.n_rivals / len(self.judges))
        return (scores - log_normalizer[:, None]).exp_(), log_normalizer + scale

    def _own_share(self, choices: Interactions, log_normalizer: Tensor) -> Tensor:
        """Probability [n] of each row's own item if it is none of the judges, else 0: their mean has it already."""
        frozen = self.frozen
        scores = dots(frozen.user_id, frozen.item_id, choices) + dots(frozen.user_feature, self.content, choices)
        return torch.where(self.drawn[choices.items], 0.0, torch.sigmoid(scores - log_normalizer))


@dataclass(frozen=True)
class ChoiceScores:
    """Scores of choices by the columns' factors, made for as many rows at a time as one likes; V different users.

    Attributes:
        taste: What each user likes of each column [V, D].
        mean: The columns' mean over the user's choice probabilities [V, D].
        place: Place of each choice's user in both, long [n].
        features: [I, D].
        items: Items of the real choices, then of each set of made-up ones, long [n] each.
        left: What a choice's own probability leaves, if the mean does not have it already [n]; of the real choices.
    """

    taste: Tensor
    mean: Tensor
    place: Tensor
    features: Tensor
    items: list[Tensor]
    left: Tensor

    def of(self, number: int, rows: Tensor) -> Tensor:
        """Returns the scores of some rows [m] of one set, 0 for the real choices, [m, D]."""
        found = self.taste.new_empty(len(rows), self.taste.shape[1])
        for piece in pieces(*found.shape):
            users, items = self.place[rows[piece]], self.items[number][rows[piece]]
            torch.mul(self.taste[users], self.features[items].sub_(self.mean[users]), out=found[piece])
        return found if number else found.mul_(self.left[rows, None])


def runs(costs: Tensor) -> list[tuple[int, int]]:
    """Returns the bounds of consecutive runs of ``costs`` that add up to a block, and at most one entry more."""
    _, lengths = torch.unique_consecutive((costs.cumsum(0) - 1) // BLOCK, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    return list(pairwise([0, *ends]))


def pieces(length: int, width: int) -> list[slice]:
    """Returns slices of ``length`` rows that hold a block each, where a row has ``width`` columns."""
    step = max(1, BLOCK // max(1, width))
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _levels(number: int, length: int, generator: torch.Generator | None) -> Tensor:
    """Random numbers of [0, 1) [number, length], all drawn at once: how users are split into blocks changes nothing."""
    if not number:
        return torch.empty(0, length, dtype=torch.float64)
    if generator is None:
        raise ValueError("choices can only be made up by a generator")
    return torch.rand(number, length, generator=generator, device=generator.device, dtype=torch.float64)


def _draw(share: Tensor, place: Tensor, level: Tensor) -> Tensor:
    """Columns drawn with the probabilities ``share`` [U', N] of the rows ``place`` [B], by numbers of [0, 1) [S, B]."""
    climb = share.double()
    torch.cumsum(climb, dim=1, out=climb)
    climb.div_(climb[:, -1:].clone()).add_(torch.arange(share.shape[0], device=share.device)[:, None])
    found = torch.searchsorted(climb.flatten(), place + level, right=True)
    return (found - place * share.shape[1]).clamp(0, share.shape[1] - 1)

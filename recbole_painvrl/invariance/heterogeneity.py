"""Where choices vary more than one recommender explains: the directions in which environments can differ.

If every choice came from the same recommender, the derivative of its log-likelihood by factors of the feature columns
(its *score* in the statistical sense) would have the Fisher information as covariance. A mixture of environments adds
to it along the factors that differ between them. The leading generalized eigenvectors of that excess are the directions
of the difference; the same figure on choices that the recommender itself makes up tells how large it gets by chance.

Source: White, "Maximum likelihood estimation of misspecified models", 1982 (information matrix test); Chesher, "Testing
for neglected heterogeneity", 1984.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .likelihood import BLOCK
from .sampling import Interactions, draw_candidates

CELLS = 20_000_000  # numbers a table of scores may hold: 80 MB in single precision
SIMULATED = 4  # choices that the recommender makes up for each real one
LEAST = 1e-3  # excess below which a direction is none, whatever chance gives
TOO_LARGE = (
    "the recommender's scores are too large to compare choices by; normalize the features, or set a larger reg_weight "
    "or a smaller learning_rate."
)
RIDGE = 0.1  # share of the mean information added to every column, so that idle columns cannot lead


@dataclass(frozen=True)
class Heterogeneity:
    """Directions of excess variance and the units' places along them; D columns, r directions.

    Attributes:
        directions: [r, D] changes of the columns' factors, scaled to an information of 1 an interaction.
        coordinates: [units, r] shrunken estimate of each unit's place along them.
        excess: [D] excess variance along every direction, largest first, as a share of the information.
        chance: The largest excess in choices without any environments.
    """

    directions: Tensor
    coordinates: Tensor
    excess: Tensor
    chance: float

    @property
    def signal(self) -> float:
        """Largest excess as a multiple of chance: up to 1 there is nothing to be found."""
        return float(self.excess[0]) / self.chance


@torch.no_grad()
def find_heterogeneity(
    frozen: FrozenRecommender,
    interactions: Interactions,
    projection: Tensor,
    unit_of_row: Tensor,
    variant: Tensor,
    most: int,
    n_judges: int | None,
    generator: torch.Generator,
) -> Heterogeneity:
    """Looks for the directions in which units of interactions differ.

    Args:
        frozen: Tables without scale and bias.
        interactions: Training interactions, [n].
        projection: [k, D] trained projection.
        unit_of_row: [n] number of the unit of each interaction, counted from 0.
        variant: [D] weight of each column in the search; 0 leaves a column out.
        most: Most directions; at least one is returned.
        n_judges: Items the recommender's choice probabilities are computed on; None or 0 takes all.
        generator: Source of every random number.

    Returns:
        Directions above chance and the units' places.

    Raises:
        ValueError: The recommender's scores are so large that their squares overflow.
    """
    judges = draw_candidates(frozen.n_items, n_judges, generator, unit_of_row.device)
    model = ReferenceChoices(frozen, projection, judges)
    rows = sampled_rows(interactions.users, max(1, CELLS // projection.shape[1]), generator)
    sample = Interactions(interactions.users[rows], interactions.items[rows])
    tables = torch.cat([model.scores(sample)[None], model.simulated_scores(sample, SIMULATED, generator)])
    for table in tables:
        table.copy_(centered(table, sample.users)).mul_(variant)
    directions, excess, chance = _directions(tables, torch.unique(unit_of_row[rows], return_inverse=True)[1])
    rank = min(max(1, int((excess > chance).sum())), most)
    directions = directions[:rank] * variant
    along = centered(model.scores(interactions, directions), interactions.users)
    return Heterogeneity(directions, _places(along, unit_of_row, excess[:rank]), excess, chance)


class ReferenceChoices:
    """Choice probabilities of one recommender on the judges [N], and the scores of choices by the columns' factors."""

    def __init__(self, frozen: FrozenRecommender, projection: Tensor, judges: Tensor) -> None:
        """Keeps the tables; users are worked on in blocks."""
        self.frozen, self.judges = frozen, judges
        self.taste = frozen.user_feature @ projection
        self.features = frozen.features[judges]
        self.drawn = torch.zeros(frozen.n_items + 1, dtype=torch.bool, device=judges.device)
        self.drawn[judges] = True

    def scores(self, interactions: Interactions, directions: Tensor | None = None) -> Tensor:
        """Derivatives of each row's log-likelihood by the columns' factors [n, D], or along ``directions`` [n, r]."""
        found = torch.empty(0)
        for rows, users, place, share, log_normalizer in self._blocks(interactions.users):
            items = interactions.items[rows]
            own = self._own_share(interactions.users[rows], items, log_normalizer[place])
            away = self.frozen.features[items] - (share @ self.features)[place]
            block = (1 - own)[:, None] * self.taste[users][place] * away
            block = block if directions is None else block @ directions.T
            found = found if len(found) else block.new_empty(len(interactions), block.shape[1])
            found[rows] = block
        return found

    def simulated_scores(self, interactions: Interactions, number: int, generator: torch.Generator) -> Tensor:
        """The same for ``number`` choices that the recommender makes up for each row's user, [number, n, D]."""
        found = self.taste.new_empty(number, len(interactions), self.taste.shape[1])
        for rows, users, place, share, _ in self._blocks(interactions.users):
            drawn = _draw(share, place.expand(number, -1), generator)
            found[:, rows] = self.taste[users][place] * (self.features[drawn] - (share @ self.features)[place])
        return found

    def _own_share(self, users: Tensor, items: Tensor, log_normalizer: Tensor) -> Tensor:
        """Probability [B] of each row's own item if it is none of the judges, else 0: their mean has it already."""
        frozen = self.frozen
        own = (frozen.user_id[users] * frozen.item_id[items]).sum(1) + (self.taste[users] * frozen.features[items]).sum(
            1
        )
        return torch.where(self.drawn[items], 0.0, torch.sigmoid(own - log_normalizer))

    def _blocks(self, users: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Yields rows [B], their users [U'], each row's place among these [B], choice shares [U', N], normalizers."""
        order = torch.argsort(users, stable=True)
        present, counts = torch.unique_consecutive(users[order], return_counts=True)
        ends = counts.cumsum(0)
        size = max(1, BLOCK // (self.judges.shape[0] + int(counts.max()) * self.taste.shape[1]))
        scale = math.log(self.frozen.n_items / self.judges.shape[0])
        for first in range(0, present.shape[0], size):
            block = present[first : first + size]
            rows = order[ends[first] - counts[first] : ends[first + block.shape[0] - 1]]
            place = torch.arange(block.shape[0], device=users.device).repeat_interleave(counts[first : first + size])
            scores = self.frozen.user_id[block] @ self.frozen.item_id[self.judges].T
            scores = scores + self.taste[block] @ self.features.T
            yield rows, block, place, scores.softmax(dim=1), scores.logsumexp(dim=1) + scale


def centered(scores: Tensor, users: Tensor) -> Tensor:
    """Returns the scores [n, D] less their mean over each user.

    That mean is what another vector of the user would take up. It is 0 where users' vectors are fitted to the end, and
    where a weight on their length holds them back it would look like a difference between users.
    """
    _, place = torch.unique(users, return_inverse=True)
    counts = torch.bincount(place).to(scores.dtype)
    sums = scores.new_zeros(counts.shape[0], scores.shape[1]).index_add_(0, place, scores)
    return scores - (sums / counts[:, None])[place]


def _draw(share: Tensor, place: Tensor, generator: torch.Generator) -> Tensor:
    """Columns drawn with the probabilities ``share`` [U', N] of the rows ``place`` [...], all at once."""
    climb = share.double().cumsum(dim=1)
    climb = climb / climb[:, -1:] + torch.arange(share.shape[0], device=share.device)[:, None]
    level = torch.rand(place.shape, generator=generator, device=generator.device, dtype=torch.float64)
    found = torch.searchsorted(climb.flatten(), place + level.to(share.device), right=True)
    return (found - place * share.shape[1]).clamp(0, share.shape[1] - 1)


def sampled_rows(unit_of_row: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Rows of as many whole random units as ``most`` rows allow, in order."""
    _, unit_of_row = torch.unique(unit_of_row, return_inverse=True)
    if unit_of_row.shape[0] <= most:
        return torch.arange(unit_of_row.shape[0], device=unit_of_row.device)
    sizes = torch.bincount(unit_of_row)
    order = torch.randperm(sizes.shape[0], generator=generator, device=generator.device).to(sizes.device)
    kept = torch.zeros_like(sizes, dtype=torch.bool)
    kept[order] = (sizes[order].cumsum(0) <= most) | (torch.arange(len(order), device=order.device) == 0)
    return kept[unit_of_row].nonzero().flatten()


def _directions(tables: Tensor, units: Tensor) -> tuple[Tensor, Tensor, float]:
    """Directions [D, D] of excess, the excess [D] along each, and what chance gives, from real and made-up scores.

    Args:
        tables: [1 + S, n, D] scores of the real choices, then of each set of made-up ones.
        units: [n] unit of each row.
    """
    white = whitener(_finite(torch.stack([table.T @ table for table in tables[1:]]).mean(dim=0)))
    sums = tables.new_zeros(len(tables), int(units.max()) + 1, tables.shape[2]).index_add_(1, units, tables)
    moments = _finite(white @ (sums.mT @ sums) @ white.T)
    total = moments[1:].sum(dim=0)
    expected = torch.cat([total[None] / SIMULATED, (total - moments[1:]) / (SIMULATED - 1)])
    values, vectors = torch.linalg.eigh(moments - expected)
    chance = max(float(values[1:, -1].max()), LEAST)
    return (vectors[0].flip(1).T @ white) * units.shape[0] ** 0.5, values[0].flip(0), chance


def _finite(moments: Tensor) -> Tensor:
    """Returns second moments of scores; a recommender that is sure of every choice has none that can be compared."""
    if not bool(moments.isfinite().all()):
        raise ValueError(TOO_LARGE)
    return moments


def whitener(moment: Tensor) -> Tensor:
    """Returns the [D, D] that makes the identity of a second moment [D, D] with a ridge on every column."""
    ridge = (RIDGE * moment.diagonal().mean()).clamp_min(1e-20)
    whitening: Tensor = torch.linalg.inv(torch.linalg.cholesky(moment + ridge * torch.eye(len(moment)).to(moment)))
    return whitening


def _places(along: Tensor, unit_of_row: Tensor, excess: Tensor) -> Tensor:
    """Each unit's place [units, r], drawn toward 0 the more, the fewer interactions it has.

    A unit of m rows at the place t has the score sum ``m t`` with variance m; the places' own variance follows from the
    excess.
    """
    sizes = torch.bincount(unit_of_row).to(along.dtype)
    sums = along.new_zeros(sizes.shape[0], along.shape[1]).index_add_(0, unit_of_row, along)
    spread = (excess * sizes.sum() / sizes.square().sum()).clamp_min(1e-6)
    return sums * spread / (1 + sizes[:, None] * spread)

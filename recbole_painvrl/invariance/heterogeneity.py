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
    tables = model.tables(sample, SIMULATED, generator)
    for table in tables:
        table.copy_(centered(table, sample.users)).mul_(variant)
    directions, excess, chance = _directions(tables, torch.unique(unit_of_row[rows], return_inverse=True)[1])
    rank = min(max(1, int((excess > chance).sum())), most)
    directions = directions[:rank] * variant
    along = centered(model.along(interactions, directions), interactions.users)
    return Heterogeneity(directions, _places(along, unit_of_row, excess[:rank]), excess, chance)


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

    def tables(self, choices: Interactions, made_up: int = 0, generator: torch.Generator | None = None) -> Tensor:
        """Returns the scores [1 + S, n, D] of the choices, then of ``made_up`` S times as many of the recommender's.

        Raises:
            ValueError: Choices are to be made up, and there is no generator.
        """
        width = self.features.shape[1]
        level = _levels(made_up, len(choices), generator).to(choices.users.device)
        found = self.content.new_empty(1 + made_up, len(choices), width)
        users, place, counts = torch.unique(choices.users, return_inverse=True, return_counts=True)
        order, ends = torch.argsort(place, stable=True), counts.cumsum(0)
        for first, last in _runs(len(self.judges) + counts * width):
            share, normalizer = self._shares(users[first:last])
            rows = order[ends[first] - counts[first] : ends[last - 1]]
            user, item, at = choices.users[rows], choices.items[rows], place[rows] - first
            taste = self.frozen.user_feature[users[first:last]] @ self.projection
            mean, taste = (taste * (share @ self.features))[at], taste[at]
            own = self._own_share(self._pair_scores(user, item), item, normalizer[at])
            found[0, rows] = (taste * self.frozen.features[item]).sub_(mean).mul_((1 - own)[:, None])
            drawn = _draw(share, at.expand(made_up, -1), level[:, rows])
            for table, judge in zip(found[1:], drawn, strict=True):
                table[rows] = (taste * self.features[judge]).sub_(mean)
        return found

    def along(self, choices: Interactions, directions: Tensor) -> Tensor:
        """Returns the scores of the choices along ``directions`` [r, D], [n, r], without a row of D for each of them.

        ``<taste_u * direction, x>`` is the score of x under the projection times the direction.
        """
        user_feature, turned = self.frozen.user_feature, self.projection * directions[:, None]
        own = [(user_feature[choices.users] * (self.frozen.features @ one.T)[choices.items]).sum(1) for one in turned]
        judged = torch.cat([self.features @ one.T for one in turned], dim=1)
        users, place = torch.unique(choices.users, return_inverse=True)
        means, normalizer = self.content.new_empty(len(users), len(turned)), self.content.new_empty(len(users))
        for first, last in _runs(torch.full_like(users, len(self.judges))):
            share, normalizer[first:last] = self._shares(users[first:last])
            mean = (share @ judged).unflatten(1, (len(turned), -1))
            means[first:last] = (user_feature[users[first:last], None] * mean).sum(dim=2)
        share = self._own_share(self._pair_scores(choices.users, choices.items), choices.items, normalizer[place])
        return (1 - share)[:, None] * (torch.stack(own, dim=1) - means[place])

    def _shares(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Choice probabilities [U', N] among the judges, and the logarithm of all items' normalizer [U']."""
        scores = self.frozen.user_id[users] @ self.judged_id + self.frozen.user_feature[users] @ self.judged_content
        log_normalizer = scores.logsumexp(dim=1)
        return (scores - log_normalizer[:, None]).exp_(), log_normalizer + math.log(
            self.frozen.n_items / len(self.judges)
        )

    def _pair_scores(self, users: Tensor, items: Tensor) -> Tensor:
        frozen = self.frozen
        scores = (frozen.user_id[users] * frozen.item_id[items]).sum(1)
        return scores + (frozen.user_feature[users] * self.content[items]).sum(1)

    def _own_share(self, scores: Tensor, items: Tensor, log_normalizer: Tensor) -> Tensor:
        """Probability [B] of each row's own item if it is none of the judges, else 0: their mean has it already."""
        return torch.where(self.drawn[items], 0.0, torch.sigmoid(scores - log_normalizer))


def _runs(costs: Tensor) -> list[tuple[int, int]]:
    """Returns the bounds of consecutive runs of entries whose ``costs`` add up to a block, or a little more."""
    _, lengths = torch.unique_consecutive((costs.cumsum(0) - 1) // BLOCK, return_counts=True)
    ends = lengths.cumsum(0).tolist()
    return list(zip([0, *ends], ends, strict=False))


def centered(scores: Tensor, users: Tensor) -> Tensor:
    """Returns the scores [n, D] less their mean over each user.

    That mean is what another vector of the user would take up. It is 0 where users' vectors are fitted to the end, and
    where a weight on their length holds them back it would look like a difference between users.
    """
    _, place = torch.unique(users, return_inverse=True)
    counts = torch.bincount(place).to(scores.dtype)
    sums = scores.new_zeros(counts.shape[0], scores.shape[1]).index_add_(0, place, scores)
    return scores - (sums / counts[:, None])[place]


def _levels(number: int, length: int, generator: torch.Generator | None) -> Tensor:
    """Random numbers of [0, 1) [number, length], all drawn at once: how users are split into blocks changes nothing."""
    if not number:
        return torch.empty(0, length, dtype=torch.float64)
    if generator is None:
        raise ValueError("choices can only be made up by a generator")
    return torch.rand(number, length, generator=generator, device=generator.device, dtype=torch.float64)


def _draw(share: Tensor, place: Tensor, level: Tensor) -> Tensor:
    """Columns drawn with the probabilities ``share`` [U', N] of the rows ``place`` [...], by numbers of [0, 1) each."""
    climb = share.double().cumsum(dim=1)
    climb = climb / climb[:, -1:] + torch.arange(share.shape[0], device=share.device)[:, None]
    found = torch.searchsorted(climb.flatten(), place + level, right=True)
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
    moments = _finite(torch.stack([table.T @ table for table in tables]))
    white = whitener(moments[1:].mean(dim=0))
    n_units = int(units.max()) + 1
    if n_units < len(units):
        moments = torch.stack([_of_units(table, units, n_units) for table in tables])
    moments = _finite(white @ moments @ white.T)
    total = moments[1:].sum(dim=0)
    expected = torch.cat([total[None] / SIMULATED, (total - moments[1:]) / (SIMULATED - 1)])
    values, vectors = torch.linalg.eigh(moments - expected)
    chance = max(float(values[1:, -1].max()), LEAST)
    return (vectors[0].flip(1).T @ white) * units.shape[0] ** 0.5, values[0].flip(0), chance


def _of_units(table: Tensor, units: Tensor, n_units: int) -> Tensor:
    """Second moment [D, D] of the units' sums of the scores [n, D]."""
    sums = table.new_zeros(n_units, table.shape[1]).index_add_(0, units, table)
    return sums.T @ sums


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

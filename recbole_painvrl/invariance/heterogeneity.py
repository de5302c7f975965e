"""Where choices vary more than one recommender explains: the directions in which environments can differ.

If every choice came from the same recommender, the derivative of its log-likelihood by factors of the feature columns
(its *score* in the statistical sense) would have the Fisher information as covariance. A mixture of environments adds
to it along the factors that differ between them. The leading generalized eigenvectors of that excess are the directions
of the difference; the same figure on choices that the recommender itself makes up tells how large it gets by chance.

Source: White, "Maximum likelihood estimation of misspecified models", 1982 (information matrix test); Chesher, "Testing
for neglected heterogeneity", 1984.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_painvrl.allocator import return_freed_memory

from .frozen import FrozenRecommender
from .leading import leading
from .reference_choices import ReferenceChoices, pieces, runs
from .sampling import Interactions
from .symmetric import Symmetric

CELLS = 20_000_000  # scores of choices and columns that are looked at
SIMULATED = 4  # choices that the recommender makes up for each real one
LEAST = 1e-3  # excess below which a direction is none, whatever chance gives
TOO_LARGE = (
    "the recommender's scores are too large to compare choices by; normalize the features, or set a larger reg_weight "
    "or a smaller learning_rate."
)
Part = tuple[Tensor, Tensor]  # numbers of some rows, long [m], and their scores [m, D]
RIDGE = 0.1  # share of the mean information added to every column, so that idle columns cannot lead


@dataclass(frozen=True)
class Heterogeneity:
    """Directions of excess variance and the units' places along them; D columns, r directions.

    Attributes:
        directions: [r, D] changes of the columns' factors, scaled to an information of 1 an interaction.
        coordinates: [units, r] shrunken estimate of each unit's place along them.
        excess: Excess variance as a share of the information, largest first: of these directions, and of those beside
            them that do not exceed chance.
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
    judges = frozen.draw_rivals(n_judges, generator)
    rows = sampled_rows(interactions.users, max(1, CELLS // projection.shape[1]), generator)
    sample = Interactions(interactions.users[rows], interactions.items[rows])
    units = torch.unique(unit_of_row[rows], return_inverse=True)[1]

    # made twice, as its tables of items and judges would only take memory in between
    scores = ReferenceChoices(frozen, projection, judges).scores(sample, SIMULATED, generator)
    parts = whole_users(sample.users, units, projection.shape[1])
    return_freed_memory()

    def table(number: int) -> Iterator[Part]:
        for part in parts:
            yield part, center(scores.of(number, part), sample.users[part]).mul_(variant)

    directions, excess, chance = _directions(map(table, range(1 + SIMULATED)), units, most)
    return_freed_memory()
    rank = min(max(1, int((excess > chance).sum())), most)
    directions = directions[:rank] * variant
    along = ReferenceChoices(frozen, projection, judges).along(interactions, directions)
    along = center(along, interactions.users)
    return Heterogeneity(directions, _places(along, unit_of_row, excess[:rank]), excess, chance)


def center(scores: Tensor, users: Tensor) -> Tensor:
    """Takes their mean over each user off the scores [n, D], in place, and returns them.

    That mean is what another vector of the user would take up. It is 0 where users' vectors are fitted to the end, and
    where a weight on their length holds them back it would look like a difference between users.
    """
    _, place, counts = torch.unique(users, return_inverse=True, return_counts=True)
    means = scores.new_zeros(counts.shape[0], scores.shape[1]).index_add_(0, place, scores).div_(counts[:, None])
    for rows in pieces(*scores.shape):
        scores[rows] -= means[place[rows]]
    return scores


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


def whole_users(users: Tensor, units: Tensor, width: int) -> list[Tensor]:
    """Cuts rows [n] into parts of whole users, long [m] each, whose tables of a width fill a block.

    Units have to be whole as well; where one has rows of several users, all rows are one part.
    """
    order = torch.argsort(users, stable=True)
    owner = users.new_empty(int(units.max()) + 1)
    owner[units] = users
    if not torch.equal(owner[units], users):
        return [order]
    counts = torch.unique_consecutive(users[order], return_counts=True)[1]
    ends = counts.cumsum(0)[[last - 1 for _, last in runs(counts * width)]].tolist()
    return list(torch.tensor_split(order, ends[:-1]))


def _directions(tables: Iterable[Iterable[Part]], units: Tensor, most: int) -> tuple[Tensor, Tensor, float]:
    """Directions [r, D] of excess, the excess [r] along each, and what chance gives, from real and made-up scores.

    Args:
        tables: Scores of the real choices, then of each set of made-up ones, in parts of whole units.
        units: [n] unit of each row.
        most: r, or the number of columns if that is less.
    """
    moments, expected = _moments(tables, units)
    white = whitener(expected)
    del expected
    return_freed_memory()
    for number, moment in enumerate(moments):
        moments[number] = _finite(moment.between(white))
        return_freed_memory()
    real, *made_up = moments
    total = Symmetric.combined(*((1.0, one) for one in made_up))
    chances = [_largest(total, one) for one in made_up]
    excess = Symmetric.combined((1.0, real), (-1 / SIMULATED, total))
    del moments, real, made_up, total
    return_freed_memory()
    values, vectors = leading(excess.whole(), most)
    chance = max(*chances, LEAST)
    directions = (vectors.T @ white) * units.shape[0] ** 0.5
    return directions.mul_(_signs(directions)), values, chance


def _largest(total: Symmetric, one: Symmetric) -> float:
    """Largest excess of one set of made-up choices beside the other ones, by their whitened moments [D, D]."""
    return_freed_memory()
    others = 1 / (SIMULATED - 1)
    return float(leading(Symmetric.combined((1 + others, one), (-others, total)).whole(), 1)[0])


def _signs(directions: Tensor) -> Tensor:
    """Signs [r, 1] that make the largest entry of each direction [r, D] positive: rounding must not number slices."""
    return directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)).sign()


def _moments(tables: Iterable[Iterable[Part]], units: Tensor) -> tuple[list[Symmetric], Tensor]:
    """Second moments [D, D] of each table's sums over units, and the mean one of the rows of made-up choices."""
    of_units, of_rows = [], torch.zeros(())
    for number, table in enumerate(tables):
        moment = torch.zeros(())
        for rows, scores in table:
            moment = added_moment(moment, _unit_sums(scores, units[rows]))
            of_rows = added_moment(of_rows, scores) if number else of_rows
        of_units.append(_finite(Symmetric.of(moment)))
        del moment
        return_freed_memory()
    return of_units, of_rows.div_(len(of_units) - 1)


def added_moment(moment: Tensor, rows: Tensor) -> Tensor:
    """Adds the second moment of rows [m, D] to a sum of such [D, D], in place once there is one."""
    if not moment.dim():
        moment = rows.new_zeros(rows.shape[1], rows.shape[1])
    return moment.addmm_(rows.T, rows)


def _unit_sums(scores: Tensor, units: Tensor) -> Tensor:
    """Returns the sums over each unit of scores [m, D]; the scores themselves where every unit is a row."""
    found, place = torch.unique(units, return_inverse=True)
    if len(found) == len(units):
        return scores
    return scores.new_zeros(len(found), scores.shape[1]).index_add_(0, place, scores)


def _finite(moment: Symmetric) -> Symmetric:
    """Returns a second moment of scores; a recommender that is sure of every choice has none that can be compared."""
    if not moment.is_finite():
        raise ValueError(TOO_LARGE)
    return moment


def whitener(moment: Tensor) -> Tensor:
    """Returns the [D, D] that makes the identity of a second moment [D, D] with a ridge on every column."""
    ridged = moment.clone()
    ridged.diagonal().add_((RIDGE * moment.diagonal().mean()).clamp_min(1e-20))
    lower = torch.linalg.cholesky(ridged)
    identity = ridged.zero_().fill_diagonal_(1)
    whitening: Tensor = torch.linalg.solve_triangular(lower, identity, upper=False, out=identity)
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

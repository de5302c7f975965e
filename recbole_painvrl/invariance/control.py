"""Whether a partition carries any signal: environments' mean scores against those of permuted labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .heterogeneity import CELLS, added_moment, sampled_rows, whitener
from .reference_choices import ChoiceScores, ReferenceChoices, pieces
from .sampling import Interactions

PERMUTATIONS = 20
Z_SCORE = 3.0  # permuted labels get this far about once in a hundred partitions


@dataclass(frozen=True)
class Control:
    """How far environments disagree about the columns' factors, and how far permuted labels do.

    Attributes:
        found: Disagreement of the labels: variance over environments of the mean score, in units of its expectation
            under no difference.
        permuted: Mean of the same over permuted labels.
        deviation: Its standard deviation there.
    """

    found: float
    permuted: float
    deviation: float

    @property
    def z_score(self) -> float:
        """Standard deviations between the labels and permuted ones; nan if permuting changes nothing."""
        return (self.found - self.permuted) / self.deviation if self.deviation > 0 else math.nan

    def record(self) -> dict[str, float | None]:
        """Returns the figures for a record; a figure that does not exist is None."""
        values = {**asdict(self), "z_score": self.z_score}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


@torch.no_grad()
def permuted_control(
    frozen: FrozenRecommender,
    interactions: Interactions,
    projection: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    groups: Tensor | None = None,
    n_reference: int | None = 2048,
) -> Control:
    """Compares environments with a partition of the same sizes by chance.

    Labels that were chosen by looking at single choices always pass, with or without environments in the data; for them
    ``Heterogeneity.signal`` is the test.

    Args:
        frozen: Tables of the trained recommender.
        interactions: Training interactions, [n].
        projection: [k, D] trained projection.
        labels: [n] environment of each interaction.
        generator: Source of every random number.
        groups: [n] what keeps one label when labels are permuted; None permutes interactions.
        n_reference: Items the recommender's choice probabilities are computed on; None or 0 takes all.
    """
    units = torch.arange(len(interactions)).to(labels) if groups is None else groups
    units = torch.unique(units, return_inverse=True)[1]
    rows = sampled_rows(units, max(1, CELLS // projection.shape[1]), generator)
    sample = Interactions(interactions.users[rows], interactions.items[rows])
    judges = frozen.draw_rivals(n_reference, generator)
    scores = ReferenceChoices(frozen.folded(), projection, judges).scores(sample)
    _, units = torch.unique(units[rows], return_inverse=True)
    _, labels = torch.unique(labels[rows], return_inverse=True)
    of_unit = labels.new_empty(int(units.max()) + 1).scatter_(0, units, labels)
    dealt = torch.stack([of_unit, *(of_unit[_order(of_unit, generator)] for _ in range(PERMUTATIONS))])
    found, *chance = _disagreements(scores, dealt[:, units])
    spread = torch.tensor(chance, dtype=torch.float64)
    return Control(found, float(spread.mean()), float(spread.std()))


def _disagreements(scores: ChoiceScores, labels: Tensor) -> list[float]:
    """Squared distance of environments' mean whitened scores from the common mean, in units of chance.

    Args:
        scores: Of n choices, made a piece at a time: a table of all of them would be a large part of the memory.
        labels: Partitions of the choices [S, n] into E environments each, counted from 0.

    Returns:
        The figure of each partition, S of them.
    """
    number, width = int(labels.max()) + 1, scores.taste.shape[1]
    moment = torch.zeros(())
    for _, table in _pieces(scores):
        moment = added_moment(moment, table)
    white = whitener(moment)
    at_once = max(1, CELLS // (number * width))
    return [one for some in labels.split(at_once) for one in _distances(scores, some, number, white)]


def _distances(scores: ChoiceScores, labels: Tensor, number: int, white: Tensor) -> list[float]:
    """The same of a few partitions into ``number`` environments, whose sums [S E, D] are in memory together."""
    n_rows, width = labels.shape[1], white.shape[0]
    place = labels + number * torch.arange(len(labels), device=labels.device)[:, None]
    sizes = torch.bincount(place.flatten(), minlength=number * len(labels)).to(white.dtype)
    sums = white.new_zeros(len(sizes), width)
    for rows, table in _pieces(scores):
        for one in place:
            sums.index_add_(0, one[rows], table)
    away = sums / sizes.clamp_min(1)[:, None] - sums[:number].sum(dim=0) / n_rows
    far = (away @ white.T).square().sum(dim=1) * sizes * n_rows
    return (far.view(-1, number).sum(dim=1) / max(1, (number - 1) * width)).tolist()


def _pieces(scores: ChoiceScores) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields numbers of some choices, long [m], and their scores [m, D]."""
    rows = torch.arange(len(scores.place), device=scores.place.device)
    for piece in pieces(len(rows), scores.taste.shape[1]):
        yield rows[piece], scores.of(0, rows[piece])


def _order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of the units."""
    return torch.randperm(labels.shape[0], generator=generator, device=generator.device).to(labels.device)

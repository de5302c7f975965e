"""Whether a partition carries any signal: environments' mean scores against those of permuted labels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .heterogeneity import CELLS, sampled_rows, whitener
from .reference_choices import ReferenceChoices
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
    scores = next(ReferenceChoices(frozen.folded(), projection, judges).tables(sample))
    white = whitener(scores.T @ scores)
    _, units = torch.unique(units[rows], return_inverse=True)
    _, labels = torch.unique(labels[rows], return_inverse=True)
    sums = scores.new_zeros(int(units.max()) + 1, scores.shape[1]).index_add_(0, units, scores)
    del scores
    sums = (sums @ white.T).mul_(len(rows) ** 0.5)
    of_unit = torch.empty(len(sums), dtype=labels.dtype, device=labels.device).scatter_(0, units, labels)
    sizes = torch.bincount(units)
    chance = [_disagreement(sums, sizes, of_unit[_order(of_unit, generator)]) for _ in range(PERMUTATIONS)]
    spread = torch.tensor(chance, dtype=torch.float64)
    return Control(_disagreement(sums, sizes, of_unit), float(spread.mean()), float(spread.std()))


def _disagreement(sums: Tensor, sizes: Tensor, labels: Tensor) -> float:
    """Squared distance of the environments' mean whitened scores [D] from the common mean, in units of chance."""
    number = int(labels.max()) + 1
    rows = torch.zeros(number, dtype=sums.dtype, device=sums.device).index_add_(0, labels, sizes.to(sums.dtype))
    means = sums.new_zeros(number, sums.shape[1]).index_add_(0, labels, sums) / rows.clamp_min(1)[:, None]
    away = means - sums.sum(dim=0) / rows.sum()
    return float((rows[:, None] * away.square()).sum()) / max(1, (number - 1) * sums.shape[1])


def _order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of the units."""
    return torch.randperm(labels.shape[0], generator=generator, device=generator.device).to(labels.device)

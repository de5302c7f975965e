"""Heterogeneous identification: splits interactions into environments that rank by the features in different ways.

Two methods. ``clustering`` is hard expectation maximization from random environments: one projection an environment is
fitted to its members, then every assignment unit goes to the environment that explains it best. ``spectral`` first asks
along which factors of the columns units differ by more than chance (:mod:`.heterogeneity`), starts from the units'
places there, and fits only those few factors of each environment; single interactions stay where they start, because
moving each to where it fits best exaggerates the difference until columns that do not differ seem to.

Source: the clustering of interactions in Du et al., "Invariant representation learning for multimedia recommendation",
2022, with a likelihood in place of raw scores and with units larger than one interaction. The spectral method is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .families import Family, free_projections, scaled_projections
from .frozen import FrozenRecommender
from .heterogeneity import TOO_LARGE, Heterogeneity, find_heterogeneity
from .likelihood import row_evidence
from .losses import SoftmaxLoss
from .partition import clusters, slices
from .penalty import environment_terms
from .sampling import EnvironmentSampler, Interactions

ASSIGNMENTS = ("likelihood", "logit")
METHODS = ("spectral", "clustering")
Row = dict[str, Any]


@dataclass(frozen=True)
class EnvironmentSettings:
    """How environments are looked for.

    Attributes:
        n_environments: E, at least 2.
        method: ``spectral`` (along the directions in which units differ by more than chance) or ``clustering``.
        assign: ``likelihood`` (of the item among all items) or ``logit`` (raw score) decides where a unit belongs.
        max_iter: Most rounds of fitting and assigning.
        tolerance: Share of interactions changing environment at which the search ends.
        min_share: Share of the interactions under which an environment is seeded anew; None is ``1 / (10 E)``.
        fit_steps: Adam steps of all projections in a round.
        learning_rate: Adam's step, in units of a score variance of 1.
        ridge: Factor of a projection's mean square, in the same units.
        batch_size: Rows of each environment in a step; None or 0 takes all.
        n_candidates: Items every row is compared with, drawn anew each step of fitting; None or 0 takes all.
        n_judges: Items the normalizer of the evidence is estimated from, drawn once; None or 0 takes all.
        n_reference: The same for the choice probabilities that heterogeneity is judged by.
    """

    n_environments: int = 10
    method: str = "spectral"
    assign: str = "likelihood"
    max_iter: int = 10
    tolerance: float = 0.01
    min_share: float | None = None
    fit_steps: int = 10
    learning_rate: float = 0.2
    ridge: float = 0.1
    batch_size: int | None = 512
    n_candidates: int | None = 256
    n_judges: int | None = 512
    n_reference: int | None = 2048

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: A name is unknown, or a number is out of its range.
        """
        if self.n_environments < 2:
            raise ValueError(f"n_environments must be at least 2, but got {self.n_environments}.")
        for name, known in (("assign", ASSIGNMENTS), ("method", METHODS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, but got {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Environments:
    """Environments and how they came about.

    Attributes:
        labels: [n] environment of each interaction.
        projections: [E, k, D] projection of each environment; the common one where single interactions were sliced.
        history: One row a round: ``iteration moved objective sizes reseeded``; ``moved`` is a share of the
            interactions, ``objective`` their mean evidence where they are, ``sizes`` the interactions of each
            environment, ``reseeded`` how many environments were too small and seeded anew.
        heterogeneity: What the spectral method found; None after ``clustering``.
    """

    labels: Tensor
    projections: Tensor
    history: list[Row]
    heterogeneity: Heterogeneity | None = None

    @property
    def collapsed(self) -> bool:
        """Whether the last round left everything in one environment, before the others were seeded anew."""
        return bool(self.history) and self.history[-1]["reseeded"] == self.projections.shape[0] - 1


@torch.no_grad()
def identify_environments(
    frozen: FrozenRecommender,
    interactions: Interactions,
    projection: Tensor,
    generator: torch.Generator,
    groups: Tensor | None = None,
    settings: EnvironmentSettings | None = None,
    callback: Callable[[Row], object] | None = None,
    variant: Tensor | None = None,
) -> Environments:
    """Splits interactions into environments.

    Args:
        frozen: Tables of the trained recommender.
        interactions: Training interactions, [n].
        projection: [k, D] where each environment's projection starts.
        generator: Source of every random number.
        groups: [n] assignment unit of each interaction, any whole numbers; None takes each interaction by itself.
            Units of several interactions are far easier to tell apart than single ones.
        settings: How to look.
        callback: Called with each row of the history.
        variant: [D] share of each column that may differ between environments, ``1 - mask`` after the first round;
            None is all of it. ``clustering`` sees the columns times this share, as in the paper. ``spectral`` keeps
            them whole in the scores, which would be off without them, and prefers differences in variant columns; a
            column that the mask holds counts half, so that a wrong mask can be found out.

    Returns:
        Labels, projections and history. Equal generators give equal answers on the CPU.

    Raises:
        ValueError: There are fewer units than environments, no feature column, or scores too large to compare.
    """
    settings = settings or EnvironmentSettings()
    units = _units(groups, interactions)
    if units[1] < settings.n_environments:
        raise ValueError(f"{settings.n_environments} environments need as many units, but got {units[1]}.")
    if not projection.shape[1]:
        raise ValueError("there is no feature column by which environments could differ.")
    frozen, found = frozen.folded(), None
    share = torch.ones_like(frozen.features[0]) if variant is None else variant
    if settings.method == "spectral" and settings.max_iter:
        found = find_heterogeneity(
            frozen,
            interactions,
            projection,
            units[0],
            (1 + share) / 2,
            _most(settings, units, interactions),
            settings.n_reference,
            generator,
        )
        family = scaled_projections(projection, found.directions, settings.n_environments)
    else:
        frozen = replace(frozen, features=share * frozen.features)
        family = free_projections(frozen, projection, settings.n_environments)
    search = _Search(frozen, interactions, family, units, generator, settings)
    history = search.run(found, callback or (lambda _row: None))
    projections = family.projections()
    if not bool(projections.isfinite().all()):
        raise ValueError(TOO_LARGE)
    return Environments(search.rows, projections, history, found)


def _most(settings: EnvironmentSettings, units: tuple[Tensor, int], interactions: Interactions) -> int:
    """Directions to look at: single interactions are sliced along one, E environments need no more than E - 1."""
    return 1 if units[1] == len(interactions) else settings.n_environments - 1


class _Search:
    """State of one search: label of each unit, and the family of projections with its optimizer."""

    def __init__(
        self,
        frozen: FrozenRecommender,
        interactions: Interactions,
        family: Family,
        units: tuple[Tensor, int],
        generator: torch.Generator,
        settings: EnvironmentSettings,
    ) -> None:
        """Starts from equally large environments of random units."""
        self.frozen, self.interactions, self.family = frozen, interactions, family
        self.generator, self.settings = generator, settings
        self.unit_of_row, self.n_units = units
        self.labels = self._permutation(self.n_units) % settings.n_environments
        self.judges = self._draw(settings.n_judges)
        self.optimizer = torch.optim.Adam([family.parameters], lr=settings.learning_rate)

    @property
    def rows(self) -> Tensor:
        """Environment of each interaction, [n]."""
        return self.labels[self.unit_of_row]

    def run(self, found: Heterogeneity | None, callback: Callable[[Row], object]) -> list[Row]:
        """Starts from what was found, then fits and assigns until hardly any interaction moves; returns the history."""
        history: list[Row] = []
        single = self.n_units == len(self.interactions)
        while len(history) < self.settings.max_iter:
            first = None if history else found
            row = self._fit_and_assign() if first is None else self._start(first.coordinates)
            history.append({"iteration": len(history) + 1, **row})
            callback(history[-1])
            if row["moved"] <= self.settings.tolerance or (first is not None and single):
                break
        return history

    def _start(self, places: Tensor) -> Row:
        """Takes slices or clusters of the units' places [units, r] as environments."""
        weights, number = torch.bincount(self.unit_of_row).to(places.dtype), self.settings.n_environments
        single = self.n_units == len(self.interactions)
        return self._settle(slices(places[:, 0], weights, number) if single else clusters(places, weights, number))

    def _fit_and_assign(self) -> Row:
        self._fit()
        return self._assign()

    def _fit(self) -> None:
        """Moves every projection toward the likelihood of its members."""
        settings, family = self.settings, self.family
        sampler = EnvironmentSampler(self.rows, settings.n_environments, settings.batch_size, self.generator)
        decay = 2 * settings.ridge / family.parameters[0].numel()
        for _ in range(settings.fit_steps):
            candidates = self._draw(settings.n_candidates)
            loss = SoftmaxLoss(self.frozen.n_rivals / candidates.shape[0])
            projections = family.projections()
            batch = sampler.batch(self.interactions, candidates, projections.dtype)
            gradients = environment_terms(self.frozen, batch, projections, loss).gradients
            family.parameters.grad = family.pull_back(gradients) + decay * family.parameters
            self.optimizer.step()

    def _assign(self) -> Row:
        """Sends every unit where its evidence is largest; returns the history's row without its number."""
        likelihood = self.settings.assign == "likelihood"
        evidence = row_evidence(self.frozen, self.interactions, self.family.projections(), self.judges, likelihood)
        by_unit = evidence.new_zeros(evidence.shape[0], self.n_units).index_add_(1, self.unit_of_row, evidence)
        best, labels = by_unit.max(dim=0)
        return self._settle(labels, float(best.sum()) / len(self.interactions))

    def _settle(self, labels: Tensor, objective: float | None = None) -> Row:
        """Takes over the units' labels, seeds small environments anew and says what happened."""
        moved = float((labels != self.labels)[self.unit_of_row].double().mean())
        self.labels = labels
        reseeded = self._reseed()
        sizes = torch.bincount(self.rows, minlength=self.settings.n_environments).tolist()
        return {"moved": moved, "objective": objective, "sizes": sizes, "reseeded": reseeded}

    def _reseed(self) -> int:
        """Gives each environment that is too small a random part of the largest one and its projection.

        A largest one of too few units for that gives none; then only environments without any unit get one.
        """
        settings = self.settings
        least = settings.min_share if settings.min_share is not None else 0.1 / settings.n_environments
        sizes = torch.bincount(self.rows, minlength=settings.n_environments)
        small = (sizes < max(1.0, least * len(self.interactions))).nonzero().flatten()
        largest = sizes.argmax()
        members = (self.labels == largest).nonzero().flatten()
        part = members.shape[0] // (small.shape[0] + 1)
        if not part:
            return self._fill((sizes == 0).nonzero().flatten())
        chosen = members[self._permutation(members.shape[0])][: part * small.shape[0]]
        self.labels[chosen] = small.repeat_interleave(part)
        self.family.parameters[small] = self.family.parameters[largest].clone()
        return small.shape[0]

    def _fill(self, empty: Tensor) -> int:
        """Gives each environment without a unit one of those that have most of them, and its projection."""
        order = self._permutation(self.n_units)
        order = order[torch.argsort(self.labels[order], stable=True)]
        counts = torch.bincount(self.labels, minlength=self.settings.n_environments)
        place = torch.arange(self.n_units, device=order.device) - (counts.cumsum(0) - counts)[self.labels[order]]
        chosen = order[torch.argsort(place, descending=True, stable=True)][: empty.shape[0]]  # first ones stay
        self.family.parameters[empty] = self.family.parameters[self.labels[chosen]].clone()
        self.labels[chosen] = empty
        return empty.shape[0]

    def _draw(self, number: int | None) -> Tensor:
        """Different items [N]."""
        return self.frozen.draw_rivals(number, self.generator)

    def _permutation(self, length: int) -> Tensor:
        """A random order of 0 to length - 1."""
        drawn = torch.randperm(length, generator=self.generator, device=self.generator.device)
        return drawn.to(self.unit_of_row.device)


def _units(groups: Tensor | None, interactions: Interactions) -> tuple[Tensor, int]:
    """Number of the unit of each row [n], counted from 0, and how many there are."""
    if groups is None:
        return torch.arange(len(interactions), device=interactions.users.device), len(interactions)
    present, unit_of_row = torch.unique(groups, return_inverse=True)
    return unit_of_row, present.numel()

"""Heterogeneous identification: splits interactions into environments that rank by the features in different ways.

Hard expectation maximization with frozen users and identities: one projection an environment is fitted to its members,
then every assignment unit goes to the environment that explains it best. All environments are fitted as one batched
product.

Source: the clustering of interactions in Du et al., "Invariant representation learning for multimedia recommendation",
2022, with a likelihood in place of raw scores and with units larger than one interaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .frozen import FrozenRecommender, score_unit
from .likelihood import row_evidence
from .losses import SoftmaxLoss
from .penalty import environment_terms
from .sampling import EnvironmentSampler, Interactions, draw_candidates

ASSIGNMENTS = ("likelihood", "logit")


@dataclass(frozen=True)
class EnvironmentSettings:
    """How environments are looked for.

    Attributes:
        n_environments: E, at least 2.
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
    """

    n_environments: int = 10
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

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: A name is unknown, or a number is out of its range.
        """
        if self.n_environments < 2:
            raise ValueError(f"n_environments must be at least 2, but got {self.n_environments}.")
        if self.assign not in ASSIGNMENTS:
            raise ValueError(f"assign must be one of {ASSIGNMENTS}, but got {self.assign!r}.")


@dataclass(frozen=True)
class Environments:
    """Environments and how they came about.

    Attributes:
        labels: [n] environment of each interaction.
        projections: [E, k, D] projection of each environment.
        history: One row a round: ``iteration moved objective sizes``; ``moved`` is a share of the interactions,
            ``objective`` their mean evidence where they are, ``sizes`` the interactions of each environment.
    """

    labels: Tensor
    projections: Tensor
    history: list[dict[str, object]]


def identify_environments(
    frozen: FrozenRecommender,
    interactions: Interactions,
    projection: Tensor,
    generator: torch.Generator,
    groups: Tensor | None = None,
    settings: EnvironmentSettings | None = None,
    callback: Callable[[dict[str, object]], None] | None = None,
) -> Environments:
    """Splits interactions into environments.

    Args:
        frozen: Tables of the trained recommender; give its features as ``variant_features`` after the first round.
        interactions: Training interactions, [n].
        projection: [k, D] where each environment's projection starts.
        generator: Source of every random number.
        groups: [n] assignment unit of each interaction, any whole numbers; None takes each interaction by itself.
            Units of several interactions are far easier to tell apart than single ones.
        settings: How to look.
        callback: Called with each row of the history.

    Returns:
        Labels, projections and history. Equal generators give equal answers on the CPU.

    Raises:
        ValueError: There are fewer units than environments.
    """
    search = _Search(frozen.folded(), interactions, projection, groups, generator, settings or EnvironmentSettings())
    history: list[dict[str, object]] = []
    for iteration in range(1, search.settings.max_iter + 1):
        search.fit()
        moved, objective, sizes = search.assign()
        row: dict[str, object] = {"iteration": iteration, "moved": moved, "objective": objective, "sizes": sizes}
        history.append(row)
        if callback is not None:
            callback(row)
        if moved <= search.settings.tolerance:
            break
    return Environments(search.labels[search.unit_of_row], search.unit * search.projections, history)


class _Search:
    """State of one search: label of each unit, projection of each environment and its optimizer."""

    def __init__(
        self,
        frozen: FrozenRecommender,
        interactions: Interactions,
        projection: Tensor,
        groups: Tensor | None,
        generator: torch.Generator,
        settings: EnvironmentSettings,
    ) -> None:
        """Starts from equally large environments of random units."""
        self.unit = score_unit(frozen)
        self.frozen = replace(frozen, user_feature=self.unit * frozen.user_feature)
        self.interactions, self.generator, self.settings = interactions, generator, settings
        self.unit_of_row, self.n_units = _units(groups, interactions)
        if self.n_units < settings.n_environments:
            raise ValueError(f"{settings.n_environments} environments need as many units, but got {self.n_units}.")
        self.labels = self._permutation(self.n_units) % settings.n_environments
        self.judges = self._draw(settings.n_judges)
        start = (projection / self.unit).expand(settings.n_environments, *projection.shape)
        self.projections = start.clone()
        self.optimizer = torch.optim.Adam([self.projections], lr=settings.learning_rate)

    def fit(self) -> None:
        """Moves every projection toward the likelihood of its members."""
        rows = self.labels[self.unit_of_row]
        sampler = EnvironmentSampler(rows, self.settings.n_environments, self.settings.batch_size, self.generator)
        decay = 2 * self.settings.ridge / self.projections[0].numel()
        for _ in range(self.settings.fit_steps):
            candidates = self._draw(self.settings.n_candidates)
            loss = SoftmaxLoss(self.frozen.n_items / candidates.shape[0])
            batch = sampler.batch(self.interactions, candidates, self.projections.dtype)
            gradients = environment_terms(self.frozen, batch, self.projections, loss).gradients
            self.projections.grad = gradients + decay * self.projections
            self.optimizer.step()

    def assign(self) -> tuple[float, float, list[int]]:
        """Sends every unit where its evidence is largest; returns the moved share, the objective and the sizes."""
        likelihood = self.settings.assign == "likelihood"
        evidence = row_evidence(self.frozen, self.interactions, self.projections, self.judges, likelihood)
        by_unit = evidence.new_zeros(evidence.shape[0], self.n_units).index_add_(1, self.unit_of_row, evidence)
        best, labels = by_unit.max(dim=0)
        moved = (labels != self.labels)[self.unit_of_row].double().mean()
        self.labels = labels
        self._reseed()
        sizes = torch.bincount(self.labels[self.unit_of_row], minlength=self.settings.n_environments)
        objective = float(best.sum()) / len(self.interactions)
        return float(moved), objective, sizes.tolist()

    def _reseed(self) -> None:
        """Gives each environment that is too small a random part of the largest one and its projection."""
        settings = self.settings
        least = settings.min_share if settings.min_share is not None else 0.1 / settings.n_environments
        sizes = torch.bincount(self.labels[self.unit_of_row], minlength=settings.n_environments)
        small = (sizes < max(1.0, least * len(self.interactions))).nonzero().flatten()
        largest = sizes.argmax()
        members = (self.labels == largest).nonzero().flatten()
        part = members.shape[0] // (small.shape[0] + 1)
        chosen = members[self._permutation(members.shape[0])][: part * small.shape[0]]
        self.labels[chosen] = small.repeat_interleave(part)
        self.projections[small] = self.projections[largest].clone()

    def _draw(self, number: int | None) -> Tensor:
        """Different items [N]."""
        return draw_candidates(self.frozen.n_items, number, self.generator, self.unit_of_row.device)

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

"""Invariant mask generation: which feature columns mean the same in every environment.

Users and identities stay frozen. A fresh projection learns to rank with the masked features, while the mask descends a
direction that lowers both the mean risk over environments (ERM) and their disagreement (IRM).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .closed_form import PenalizedBatch
from .estimate import RunningSquare
from .frozen import FrozenRecommender, score_unit
from .groups import pooled
from .losses import PairLoss
from .pareto import ParetoSettings, ParetoStep, pareto_step
from .penalty import PENALTIES, mean_risk_gradients
from .sampling import EnvironmentSampler, Interactions, standard_normal

WINDOW = 20  # steps over which the mask has to move to go on
PATIENCE = 5  # stationary steps in a row that end the search: a single one may be chance


@dataclass(frozen=True)
class MaskSettings:
    """How a mask is looked for.

    Attributes:
        penalty: ``gv`` (variance of gradients), ``irmv1`` or ``vrex``.
        pareto: How the two gradients become one. ERM alone: ``bounds=(0, 1)``; the penalty alone: ``bounds=(1, 0)``.
        learning_rate: Adam's step for the mask and for the projection.
        steps: Most steps.
        batch_size: Rows of each environment in a step; None or 0 takes all.
        n_candidates: Items every row is compared with, drawn anew each step; None or 0 takes all.
        sigma: Standard deviation of the gate's noise.
        weight_decay: Factor of the projection's mean square in units of a score variance of 1; 0 would let the
            projection grow while the mask shrinks.
        estimate: How the penalty is estimated if rows or candidates are sampled: ``unbiased`` (products of different
            batches), ``average`` (square of a running mean) or ``batch`` (each batch by itself).
        smoothing: Decay of the batches' weights in it, in [0, 1).
        tolerance: Stationarity, and movement of the mask, under which the search ends.
        initial_scale: Standard deviation of the fresh projection, in the same units.
    """

    penalty: str = "gv"
    pareto: ParetoSettings = field(default_factory=ParetoSettings)
    learning_rate: float = 0.02
    steps: int = 200
    batch_size: int | None = 1024
    n_candidates: int | None = 256
    sigma: float = 0.01
    weight_decay: float = 3.0
    estimate: str = "unbiased"
    smoothing: float = 0.9
    tolerance: float = 1e-3
    initial_scale: float = 0.01

    def __post_init__(self) -> None:
        """Checks the names and the decay.

        Raises:
            ValueError: One of them cannot be used.
        """
        RunningSquare(self.estimate, self.smoothing)
        if self.penalty not in PENALTIES:
            raise ValueError(f"penalty must be one of {tuple(PENALTIES)}, but got {self.penalty!r}.")


@dataclass(frozen=True)
class MaskResult:
    """A mask and how it came about.

    Attributes:
        mask: [D] in [0, 1]: 1 invariant, 0 variant.
        projection: [k, D] the projection learned with it.
        history: One row a step: ``step erm irm weight stationarity cosine norm angle factor mask_mean``.
    """

    mask: Tensor
    projection: Tensor
    history: list[dict[str, float]]


def generate_mask(
    frozen: FrozenRecommender,
    interactions: Interactions,
    labels: Tensor,
    loss: PairLoss,
    generator: torch.Generator,
    settings: MaskSettings | None = None,
    callback: Callable[[dict[str, float]], object] | None = None,
    groups: Tensor | None = None,
) -> MaskResult:
    """Looks for the mask under which environments agree and the ranking stays good.

    Args:
        frozen: Tables of the trained recommender.
        interactions: Training interactions, [n].
        labels: [n] environment of each; numbers without a row are left out.
        loss: Loss of a row.
        generator: Source of every random number.
        settings: How to look.
        callback: Called with each row of the history.
        groups: [D] group of each column, counted from 0: columns of a group share one gate. None gives each its own.

    Returns:
        The mask ``clip(mu + 1/2, 0, 1)`` after the last step, its projection and the history.

    Raises:
        ValueError: Fewer than two environments have a row, or there is no feature column.
    """
    search = _Search(frozen.folded(), interactions, labels, loss, generator, settings or MaskSettings(), groups)
    history: list[dict[str, float]] = []
    while not search.finished():
        history.append(search.step())
        if callback is not None:
            callback(history[-1])
    return MaskResult(search.mask(), search.unit * search.projection, history)


class _Search:
    """State of one search: gate position ``mu``, projection, optimizer and what batches told about the penalty."""

    def __init__(
        self,
        frozen: FrozenRecommender,
        interactions: Interactions,
        labels: Tensor,
        loss: PairLoss,
        generator: torch.Generator,
        settings: MaskSettings,
        groups: Tensor | None,
    ) -> None:
        """Starts from a half-open gate and a small random projection."""
        present, labels = torch.unique(labels, return_inverse=True)
        if present.numel() < 2:
            raise ValueError(f"a mask needs at least 2 environments with rows, but got {present.numel()}.")
        if not frozen.features.shape[1]:
            raise ValueError("there is no feature column to make a mask of.")
        self.unit = score_unit(frozen)
        self.frozen = replace(frozen, user_feature=self.unit * frozen.user_feature)
        self.interactions, self.loss = interactions, loss
        self.generator, self.settings = generator, settings
        self.sampler = EnvironmentSampler(labels, present.numel(), settings.batch_size, generator)
        whole = self.sampler.whole and not 0 < (settings.n_candidates or 0) < frozen.n_rivals
        self.memory = RunningSquare("batch" if whole else settings.estimate, settings.smoothing)
        table = frozen.features
        self.groups = None if groups is None else groups.to(table.device)
        self.n_gates = table.shape[1] if groups is None else int(groups.max()) + 1
        self.mu = torch.zeros(self.n_gates, dtype=table.dtype, device=table.device)
        blank = table.new_zeros(frozen.user_feature.shape[1], table.shape[1])
        self.projection = settings.initial_scale * standard_normal(blank, generator)
        self.optimizer = torch.optim.Adam([self.mu, self.projection], lr=settings.learning_rate)
        self.decay = 2 * settings.weight_decay / self.projection.numel()
        self.masks = [self.mask()]
        self.stationary = 0
        if not whole:
            self._gradients(self._noisy_gate()[0])  # an estimate needs a batch before the first step's

    def mask(self) -> Tensor:
        """The gate without noise, [D]."""
        return self._of_columns((self.mu + 0.5).clamp(0, 1))

    def _of_columns(self, gates: Tensor) -> Tensor:
        """Each column's own gate [D]."""
        return gates if self.groups is None else gates[self.groups]

    def finished(self) -> bool:
        """Whether the steps are used up, the gradients leave no common descent, or the mask stands still."""
        if len(self.masks) > self.settings.steps or self.stationary >= PATIENCE:
            return True
        if len(self.masks) <= WINDOW:
            return False
        return float((self.masks[-1] - self.masks[-1 - WINDOW]).abs().max()) < self.settings.tolerance

    def step(self) -> dict[str, float]:
        """Moves the mask along the common direction and the projection along the risk; returns the history's row."""
        gate, open_gate = self._noisy_gate()
        irm, erm, on_gate, risk_on_gate, on_projection = self._gradients(gate)
        by_gate, risk_by_gate = (pooled(on, self.groups, self.n_gates) * open_gate for on in (on_gate, risk_on_gate))
        pareto = pareto_step(by_gate, risk_by_gate, (irm, erm), self.settings.pareto)
        self.mu.grad = pareto.direction
        self.projection.grad = on_projection + self.decay * self.projection
        self.optimizer.step()
        self.masks.append(self.mask())
        still = self.settings.pareto.seeks_stationarity and pareto.stationarity < self.settings.tolerance
        self.stationary = self.stationary + 1 if still else 0
        return self._row(erm, irm, pareto)

    def _noisy_gate(self) -> tuple[Tensor, Tensor]:
        """The columns' gates ``clip(mu + sigma * noise + 1/2, 0, 1)`` [D], and which gates [G] are not clipped."""
        position = self.mu + self.settings.sigma * standard_normal(self.mu, self.generator) + 0.5
        gates = self._of_columns(position.clamp(0, 1))
        return gates, ((position > 0) & (position < 1)).to(position.dtype)

    def _gradients(self, gate: Tensor) -> tuple[float, float, Tensor, Tensor, Tensor]:
        """Penalty, risk, their gradients by the gate [D], and the risk's by the projection [k, D]."""
        candidates = self.frozen.draw_rivals(self.settings.n_candidates, self.generator)
        batch = self.sampler.batch(self.interactions, candidates, self.mu.dtype)
        penalty = PENALTIES[self.settings.penalty]
        found = PenalizedBatch(self.frozen, batch, self.projection * gate, self.loss, penalty)
        risk_on_gate, on_projection = mean_risk_gradients(found.terms, self.projection, gate)
        irm, on_gate = found.estimate(gate, self.projection, self.memory)
        return irm, float(found.terms.losses.mean()), on_gate, risk_on_gate, on_projection

    def _row(self, erm: float, irm: float, pareto: ParetoStep) -> dict[str, float]:
        """One row of the history."""
        return {
            "step": len(self.masks) - 1,
            "erm": erm,
            "irm": irm,
            "weight": pareto.weight,
            "stationarity": pareto.stationarity,
            "cosine": pareto.cosine,
            "norm": pareto.norm,
            "angle": pareto.angle,
            "factor": pareto.factor,
            "mask_mean": float(self.masks[-1].mean()),
        }

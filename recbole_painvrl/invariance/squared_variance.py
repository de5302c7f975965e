"""A mask by fixed weights and a squared variance of summed gradients, as InvRL's published code has it.

It stands here to be compared with: its penalty is of fourth order in gradients that grow with the batch, so its weight
means another thing on every data set, and a projection that follows it can shrink the penalty by scale alone.

Source: Du et al., "Invariant representation learning for multimedia recommendation", 2022, and what its code does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .losses import PairLoss
from .mask import MaskResult, MaskSettings
from .pareto import ParetoSettings, pareto_step
from .penalty import environment_terms
from .sampling import EnvironmentSampler, Interactions, standard_normal

PROJECTION_PENALTY = 0.01  # of the projection's squared length, in each environment's loss


def squared_variance(position: Tensor, gradients: Tensor) -> Tensor:
    """Returns ``sum_jk [(mu_k + 1/2) sum_e (G_e,jk - mean_e G_e,jk)^2]^2``.

    Args:
        position: mu, where the gates stand, [D].
        gradients: G, of each environment's loss by the projection, [E, k, D].
    """
    spread = (gradients - gradients.mean(dim=0)).square().sum(dim=0)
    return ((position + 0.5) * spread).square().sum()


def squared_variance_mask(
    frozen: FrozenRecommender,
    interactions: Interactions,
    labels: Tensor,
    loss: PairLoss,
    generator: torch.Generator,
    settings: MaskSettings,
    weights: tuple[float, float],
    callback: Callable[[dict[str, float]], object] | None = None,
) -> MaskResult:
    """Descends ``mean_e L_e + 0.01 |W|^2 + alpha * squared variance + lambda |mu|^2`` by gates mu and projection W.

    Args:
        frozen: Tables of the trained recommender.
        interactions: Training interactions, [n].
        labels: [n] environment of each; numbers without a row are left out.
        loss: Loss of a row; an environment's loss L_e is its sum over the batch.
        generator: Source of every random number.
        settings: ``learning_rate``, ``steps``, ``batch_size``, ``n_candidates``, ``sigma`` and ``initial_scale``, here
            the projection's standard deviation itself; all steps are made.
        weights: (alpha, lambda).
        callback: Called with each row of the history.

    Returns:
        The mask ``clip(mu + 1/2, 0, 1)``, its projection and the history, whose rows are those of ``generate_mask``;
        ``erm`` there is the mean loss of a row.

    Raises:
        ValueError: Fewer than two environments have a row.
    """
    present, labels = torch.unique(labels, return_inverse=True)
    if present.numel() < 2:
        raise ValueError(f"a mask needs at least 2 environments with rows, but got {present.numel()}.")
    sampler = EnvironmentSampler(labels, present.numel(), settings.batch_size, generator)
    search = _Search(frozen.folded(), interactions, loss, sampler, generator, settings, weights)
    history: list[dict[str, float]] = []
    for number in range(settings.steps):
        history.append({"step": number + 1, **search.step()})
        if callback is not None:
            callback(history[-1])
    return MaskResult(search.mask(), search.projection.detach(), history)


class _Search:
    """Gate positions ``mu``, projection and their optimizer."""

    def __init__(
        self,
        frozen: FrozenRecommender,
        interactions: Interactions,
        loss: PairLoss,
        sampler: EnvironmentSampler,
        generator: torch.Generator,
        settings: MaskSettings,
        weights: tuple[float, float],
    ) -> None:
        """Starts from a half-open gate and a small random projection."""
        self.frozen, self.interactions, self.loss, self.sampler = frozen, interactions, loss, sampler
        self.generator, self.settings, self.weights = generator, settings, weights
        table = frozen.features
        self.mu = table.new_zeros(table.shape[1], requires_grad=True)
        blank = table.new_zeros(frozen.user_feature.shape[1], table.shape[1])
        self.projection = (settings.initial_scale * standard_normal(blank, generator)).requires_grad_()
        self.optimizer = torch.optim.Adam([self.mu, self.projection], lr=settings.learning_rate)

    def mask(self) -> Tensor:
        """The gate without noise, [D]."""
        return (self.mu.detach() + 0.5).clamp(0, 1)

    @torch.enable_grad()
    def step(self) -> dict[str, float]:
        """Makes one step of Adam; returns the history's row without its number."""
        risk, penalty, row_loss = self._objectives()
        alpha, pull = self.weights
        unknowns = [self.mu, self.projection]
        risk_on_mu, risk_on_projection = torch.autograd.grad(risk, unknowns, retain_graph=True)
        irm_on_mu, irm_on_projection = torch.autograd.grad(penalty, unknowns)
        weighed = pareto_step(irm_on_mu, risk_on_mu, settings=ParetoSettings(solver="fixed", irm_weight=alpha))
        self.mu.grad = weighed.direction + 2 * pull * self.mu.detach()
        self.projection.grad = risk_on_projection + alpha * irm_on_projection
        self.optimizer.step()
        return {
            "erm": row_loss,
            "irm": float(penalty.detach()),
            "weight": weighed.weight,
            "stationarity": weighed.stationarity,
            "cosine": weighed.cosine,
            "norm": weighed.norm,
            "angle": weighed.angle,
            "factor": weighed.factor,
            "mask_mean": float(self.mask().mean()),
        }

    def _objectives(self) -> tuple[Tensor, Tensor, float]:
        """The mean over environments of summed losses, the penalty, and the mean loss of a row."""
        candidates = self.frozen.draw_rivals(self.settings.n_candidates, self.generator)
        batch = self.sampler.batch(self.interactions, candidates, self.mu.dtype)
        rows = (batch.weights > 0).sum(dim=1).to(self.mu.dtype)
        noise = standard_normal(self.mu.detach().expand(len(rows), -1), self.generator)
        gates = (self.mu + self.settings.sigma * noise + 0.5).clamp(0, 1)[:, None, :]
        terms = environment_terms(self.frozen, batch, self.projection * gates, self.loss)
        by_projection = rows[:, None, None] * terms.gradients * gates
        risk = (rows * terms.losses).mean() + PROJECTION_PENALTY * self.projection.square().sum()
        return risk, squared_variance(self.mu, by_projection), float(terms.losses.detach().mean())

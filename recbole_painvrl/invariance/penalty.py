"""Mean loss of each environment, its gradient in closed form, and penalties on how much environments disagree.

The gradient of an environment's loss by the masked projection ``V = W diag(m)`` is an explicit function of the scores,
``Gamma_e = sum of dl/ds * user x feature``, so a penalty on gradients is differentiated by one ordinary backward pass.

Source: Arjovsky et al., "Invariant risk minimization", 2019 (irmv1); Krueger et al., "Out-of-distribution
generalization via risk extrapolation", 2021 (vrex); Du et al., "Invariant representation learning for multimedia
recommendation", 2022, whose penalty on the variance of gradients ``gv`` takes up with mean losses and without the outer
square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .losses import EnvironmentBatch, PairLoss, PairTerms, Scores
from .rows import Rows


class EnvironmentTerms(NamedTuple):
    """What the penalties are made of; E environments, k and D the sides of the projection.

    Attributes:
        losses: [E] mean loss.
        gradients: [E, k, D] derivative of each loss by the masked projection ``W diag(m)``.
        scale_gradients: [E] derivative of each loss by a common factor of its scores, at 1.
    """

    losses: Tensor
    gradients: Tensor
    scale_gradients: Tensor

    @classmethod
    def of(
        cls, rows: Rows, batch: EnvironmentBatch, scores: Scores, pairs: PairTerms, by_scale: bool = True
    ) -> EnvironmentTerms:
        """Returns the sums over rows of a batch with these scores and terms of its pairs.

        Without ``by_scale`` the derivatives by the scale, which cost a pass over all pairs, are nan.
        """
        weights, losses = batch.weights, (batch.weights * pairs.loss).sum(dim=1)
        gradients = rows.pulled_back((pairs.positive, pairs.negative), weights)
        if not by_scale:
            return cls(losses, gradients, torch.full_like(losses, torch.nan))
        scaled = pairs.positive * scores[0] + (pairs.negative * scores[1]).sum(dim=-1)
        return cls(losses, gradients, (weights * scaled).sum(dim=1))


def environment_terms(
    frozen: FrozenRecommender, batch: EnvironmentBatch, projection: Tensor, loss: PairLoss
) -> EnvironmentTerms:
    """Returns losses and closed-form gradients of every environment.

    Args:
        frozen: Tables without scale and bias (``FrozenRecommender.folded``).
        batch: Rows of each environment and the shared candidates.
        projection: Masked projection ``W diag(m)``, [k, D] for all environments or [E, k, D].
        loss: Loss of a row.

    Returns:
        The terms, differentiable by ``projection``.
    """
    rows = Rows.of(frozen, batch)
    scores = rows.scores(projection)
    return EnvironmentTerms.of(rows, batch, scores, loss(*scores, batch))


def row_terms(
    frozen: FrozenRecommender, batch: EnvironmentBatch, projection: Tensor, loss: PairLoss
) -> tuple[Scores, PairTerms]:
    """Returns the scores of each row's own item [E, B] and of the candidates [E, B, N], and the loss's terms.

    The arguments are those of :func:`environment_terms`.
    """
    scores = Rows.of(frozen, batch).scores(projection)
    return scores, loss(*scores, batch)


@dataclass(frozen=True)
class Penalty:
    """A penalty that adds up squares, ``sum_c f_c sum_n v_nc^2``: contrasts ``v`` [n, C] under factors ``f`` [C].

    Attributes:
        contrasts: Makes the contrasts, which are 0 where environments agree; linear in means over rows, so that their
            sampling noise has mean 0.
        by_column: Whether there is a contrast for each of the D columns, whose factor is the mask's square; otherwise
            C is 1 and so is the factor.
        by_scale: Whether the contrasts are made of the derivatives by the scores' scale.
    """

    contrasts: Callable[[EnvironmentTerms], Tensor]
    by_column: bool = False
    by_scale: bool = False

    def weigh(self, squares: Tensor, mask: Tensor) -> Tensor:
        """Returns the penalty of the contrasts' squares [C] under a mask [D]."""
        return (mask.square() * squares).sum() if self.by_column else squares.sum()

    def __call__(self, terms: EnvironmentTerms, mask: Tensor) -> Tensor:
        """Returns the penalty of terms without noise."""
        return self.weigh(self.contrasts(terms).square().sum(dim=0), mask)


def _gradient_contrasts(terms: EnvironmentTerms) -> Tensor:
    """Deviations of the gradients from their mean [E k, D], whose squares add up to ``mean_j Var_e(Gamma_e,jk)``."""
    deviations = (terms.gradients - terms.gradients.mean(dim=0)).flatten(end_dim=1)
    contrasts: Tensor = deviations / deviations.shape[0] ** 0.5
    return contrasts


def _scale_contrasts(terms: EnvironmentTerms) -> Tensor:
    """Derivatives by the scores' common factor [E, 1], whose squares add up to their mean square."""
    contrasts: Tensor = terms.scale_gradients[:, None] / terms.scale_gradients.shape[0] ** 0.5
    return contrasts


def _risk_contrasts(terms: EnvironmentTerms) -> Tensor:
    """Deviations of the losses from their mean [E, 1], whose squares add up to the variance."""
    contrasts: Tensor = (terms.losses - terms.losses.mean())[:, None] / terms.losses.shape[0] ** 0.5
    return contrasts


# The variance over environments of the gradient by W's columns: a column whose gradient differs is cheap only if it is
# masked. The mean squared derivative by a common factor of the scores. The variance of the mean loss (V-REx).
gradient_variance = Penalty(_gradient_contrasts, by_column=True)
irmv1 = Penalty(_scale_contrasts, by_scale=True)
risk_variance = Penalty(_risk_contrasts)
PENALTIES: dict[str, Penalty] = {"gv": gradient_variance, "irmv1": irmv1, "vrex": risk_variance}


def mean_risk_gradients(terms: EnvironmentTerms, projection: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the mean loss over environments by the mask [D] and by the projection W [k, D].

    Both follow from the environments' gradients by the chain rule of ``W diag(m)``, without a backward pass.
    """
    mean = terms.gradients.detach().mean(dim=0)
    return (mean * projection.detach()).sum(dim=0), mean * mask.detach()

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

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .losses import EnvironmentBatch, PairLoss


@dataclass(frozen=True)
class EnvironmentTerms:
    """What the penalties are made of; E environments, k and D the sides of the projection.

    Attributes:
        losses: [E] mean loss.
        gradients: [E, k, D] derivative of each loss by the masked projection ``W diag(m)``.
        scale_gradients: [E] derivative of each loss by a common factor of its scores, at 1.
    """

    losses: Tensor
    gradients: Tensor
    scale_gradients: Tensor


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
    users = frozen.user_feature[batch.users]
    own_features, features = frozen.features[batch.items], frozen.features[batch.candidates]
    positive, negative = _scores(frozen, batch, projection, users, own_features)
    terms = loss(positive, negative, batch)
    own = batch.weights * terms.positive
    others = batch.weights[..., None] * terms.negative
    gradients = (users * own[..., None]).mT @ own_features + (users.mT @ others) @ features
    scale_gradients = (own * positive).sum(dim=1) + (others * negative).sum(dim=(1, 2))
    return EnvironmentTerms((batch.weights * terms.loss).sum(dim=1), gradients, scale_gradients)


def _scores(
    frozen: FrozenRecommender, batch: EnvironmentBatch, projection: Tensor, users: Tensor, own_features: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of each row's own item [E, B] and of the candidates [E, B, N]."""
    identities = frozen.user_id[batch.users]
    content = users @ projection
    positive = (identities * frozen.item_id[batch.items]).sum(dim=-1) + (content * own_features).sum(dim=-1)
    negative = identities @ frozen.item_id[batch.candidates].T
    projected = frozen.features[batch.candidates] @ projection.mT
    return positive, negative + users @ projected.mT


def gradient_variance(terms: EnvironmentTerms, mask: Tensor) -> Tensor:
    """Returns the variance over environments of the gradient by ``W``'s columns, weighed by the mask [D] squared.

    ``sum_k m_k^2 * mean_j Var_e(Gamma_e,jk)``: a column whose gradient differs between environments is cheap only if it
    is masked.
    """
    variance = terms.gradients.var(dim=0, correction=0).mean(dim=0)
    return (mask.square() * variance).sum()


def irmv1(terms: EnvironmentTerms, mask: Tensor) -> Tensor:
    """Returns the mean over environments of the squared derivative by a common factor of the scores."""
    return terms.scale_gradients.square().mean()


def risk_variance(terms: EnvironmentTerms, mask: Tensor) -> Tensor:
    """Returns the variance over environments of the mean loss (V-REx)."""
    return terms.losses.var(correction=0)


PENALTIES: dict[str, Callable[[EnvironmentTerms, Tensor], Tensor]] = {
    "gv": gradient_variance,
    "irmv1": irmv1,
    "vrex": risk_variance,
}


def mean_risk_gradients(terms: EnvironmentTerms, projection: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the mean loss over environments by the mask [D] and by the projection W [k, D].

    Both follow from the environments' gradients by the chain rule of ``W diag(m)``, without a backward pass.
    """
    mean = terms.gradients.detach().mean(dim=0)
    return (mean * projection.detach()).sum(dim=0), mean * mask.detach()


def smoothed(terms: EnvironmentTerms, average: Tensor) -> EnvironmentTerms:
    """Returns the terms with the value of a running ``average`` [E, k, D] of the gradients, differentiable as before.

    The variance of small batches is mostly sampling noise; the average lowers that noise, and the derivative still
    comes from the batch at hand.
    """
    steady = terms.gradients + (average - terms.gradients).detach()
    return EnvironmentTerms(terms.losses, steady, terms.scale_gradients)


class RunningMean:
    """Exponential moving average that weighs its first values fully; the decay 0 keeps the last value alone."""

    def __init__(self, decay: float) -> None:
        """Starts empty with a decay in [0, 1).

        Raises:
            ValueError: The decay is outside [0, 1).
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), but got {decay}.")
        self.decay, self.weight = decay, 0.0
        self.total: Tensor | float = 0.0

    def update(self, value: Tensor) -> Tensor:
        """Takes a value in and returns the average."""
        self.total = self.decay * self.total + (1 - self.decay) * value.detach()
        self.weight = self.decay * self.weight + 1 - self.decay
        return torch.as_tensor(self.total) / self.weight

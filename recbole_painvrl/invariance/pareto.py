"""A common descent direction of two objectives: the closed form of the multiple-gradient descent algorithm (MGDA).

Source: Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", 2012; Sener and Koltun,
"Multi-task learning as multi-objective optimization", 2018, whose normalizers these are. Bounds on the weights are
those of Pareto-efficient learning to rank (Lin et al., 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NORMALIZERS = ("l2", "loss", "loss+", "none")
SOLVERS = ("mgda", "fixed")


@dataclass(frozen=True)
class ParetoStep:
    """One weighing of the two gradients; n parameters.

    Attributes:
        direction: [n] the gradient to descend.
        weight: Share of the first objective, in [0, 1], after normalizing.
        norm: Squared length of the direction; 0 is Pareto stationary.
        stationarity: (1 + cos) / 2 of the two gradients: 0 they oppose each other, 1 they agree. A gradient of length 0
            counts as stationary.
        cosine: Cosine of the angle between the two gradients; nan if one has length 0.
        angle: Angle between the two gradients in degrees; nan if one has length 0.
        factor: Share of the first raw gradient in the direction over that of the second: the ``irm_weight`` of
            ``fixed`` whose direction is the same; inf if the second has no share, nan if one has length 0.
    """

    direction: Tensor
    weight: float
    norm: float
    stationarity: float
    cosine: float
    angle: float
    factor: float


@dataclass(frozen=True)
class ParetoSettings:
    """How two gradients become one.

    Attributes:
        solver: ``mgda`` (least-norm weights) or ``fixed`` (``second + irm_weight * first`` of the raw gradients).
        normalize: What each gradient is divided by before ``mgda``: ``l2`` its length, ``loss`` its loss, ``loss+``
            both, ``none`` nothing. ``l2`` makes the direction the bisector, whatever the scale of the losses.
        bounds: (c_first, c_second): the first objective's weight lies in [c_first, 1 - c_second].
        irm_weight: Factor of the first objective, ``fixed`` only; at least 0.
    """

    solver: str = "mgda"
    normalize: str = "l2"
    bounds: tuple[float, float] = (0.0, 0.0)
    irm_weight: float = 10_000.0

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: A name is unknown, or a number is out of its range.
        """
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {SOLVERS}, but got {self.solver!r}.")
        if self.normalize not in NORMALIZERS:
            raise ValueError(f"normalize must be one of {NORMALIZERS}, but got {self.normalize!r}.")
        if min(self.bounds) < 0 or sum(self.bounds) > 1:
            raise ValueError(f"bounds must be at least 0 and add up to at most 1, but got {self.bounds}.")
        if self.irm_weight < 0:
            raise ValueError(f"irm_weight must be at least 0, but got {self.irm_weight}.")

    @property
    def seeks_stationarity(self) -> bool:
        """Whether opposing gradients end the descent: weights that are not free have an optimum of their own."""
        return self.solver == "mgda" and not any(self.bounds)


def least_norm_weight(first: float, product: float, second: float, bounds: tuple[float, float] = (0.0, 0.0)) -> float:
    """Returns the a in [c_first, 1 - c_second] for which ``a g_1 + (1 - a) g_2`` is shortest.

    Args:
        first: <g_1, g_1>.
        product: <g_1, g_2>.
        second: <g_2, g_2>.
        bounds: (c_first, c_second).

    Returns:
        The weight of g_1. For equal gradients every weight gives the same direction: the middle one, 1/2, is taken.

    Source: Sener and Koltun 2018, section 3.3 (two tasks).
    """
    squared_distance = first - 2 * product + second
    free = (second - product) / squared_distance if squared_distance > 0 else 0.5
    return min(max(free, bounds[0]), 1 - bounds[1])


def normalizer(kind: str, length: float, loss: float) -> float:
    """Returns what a gradient of this length and loss is divided by; 1 where that would be 0."""
    divisor = {"l2": length, "loss": loss, "loss+": loss * length, "none": 1.0}[kind]
    return divisor if divisor > 0 else 1.0


def pareto_step(
    first: Tensor, second: Tensor, losses: tuple[float, float] = (1.0, 1.0), settings: ParetoSettings | None = None
) -> ParetoStep:
    """Weighs the gradients [n] of two objectives over the same parameters into one direction.

    Args:
        first: Gradient of the first objective (the invariance penalty), [n].
        second: Gradient of the second objective (the mean risk), [n].
        losses: Values of the two objectives, read by the normalizers ``loss`` and ``loss+``.
        settings: Solver, normalizer and bounds.

    Returns:
        The direction and its measures. With ``mgda`` and bounds 0 its product with either normalized gradient is at
        least its own squared length, so a small step along its negative raises neither objective.
    """
    settings = settings or ParetoSettings()
    gram = _gram(first, second)
    cosine = _cosine(*gram)
    if settings.solver == "fixed":
        direction = second + settings.irm_weight * first
        weight, factor = settings.irm_weight / (1 + settings.irm_weight), settings.irm_weight
    else:
        weight, factor, direction = _mgda(first, second, gram, losses, settings)
    norm = float(direction.double().square().sum())
    if cosine is None:
        return ParetoStep(direction, weight, norm, 0.0, math.nan, math.nan, math.nan)
    return ParetoStep(direction, weight, norm, (1 + cosine) / 2, cosine, math.degrees(math.acos(cosine)), factor)


def _mgda(
    first: Tensor,
    second: Tensor,
    gram: tuple[float, float, float],
    losses: tuple[float, float],
    settings: ParetoSettings,
) -> tuple[float, float, Tensor]:
    """The weight of the first gradient, its factor before normalizing, and the weighted sum of normalized gradients."""
    n1 = normalizer(settings.normalize, math.sqrt(gram[0]), losses[0])
    n2 = normalizer(settings.normalize, math.sqrt(gram[2]), losses[1])
    weight = least_norm_weight(gram[0] / n1 / n1, gram[1] / n1 / n2, gram[2] / n2 / n2, settings.bounds)
    if settings.normalize == "l2" and gram[0] > 0 and gram[2] > 0:
        # Unit vectors: the middle, exactly, where rounding of nearly equal gradients would give anything.
        weight = min(max(0.5, settings.bounds[0]), 1 - settings.bounds[1])
    factor = weight * n2 / ((1 - weight) * n1) if weight < 1 else math.inf
    return weight, factor, first / n1 * weight + second / n2 * (1 - weight)


def _gram(first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """The three inner products, in double precision so that squares of tiny gradients do not vanish."""
    pair = torch.stack([first.flatten(), second.flatten()]).double()
    products = (pair @ pair.T).tolist()
    return products[0][0], products[0][1], products[1][1]


def _cosine(first: float, product: float, second: float) -> float | None:
    """The cosine of the angle between two gradients, None if one has length 0."""
    length = math.sqrt(first) * math.sqrt(second)
    return min(max(product / length, -1.0), 1.0) if length > 0 else None

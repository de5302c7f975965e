"""Squares of means that are only seen with noise, as those of small batches are.

The mean square of a noisy contrast is the square of its mean plus the variance of the noise, and for small batches the
second part is much the larger one. Products of contrasts from different batches do not have it: their noises are
independent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .penalty import Penalty

ESTIMATES = ("unbiased", "average", "batch")


class RunningSquare:
    """Estimates the square of the contrasts' mean, whose draws come one after the other and may slowly move.

    With weights ``w_s`` that fall by ``decay`` a step, ``unbiased`` is the mean product of two different draws,
    ``(|sum_s w_s v_s|^2 - sum_s |w_s v_s|^2) / ((sum_s w_s)^2 - sum_s w_s^2)``, which is 0 in the mean where there is
    nothing but noise; ``average`` is the square of their mean; ``batch`` is that of the last draw alone.
    """

    def __init__(self, kind: str = "unbiased", decay: float = 0.9) -> None:
        """Starts empty.

        Raises:
            ValueError: The kind is unknown, or the decay is outside [0, 1), or 0 where two draws are needed.
        """
        if kind not in ESTIMATES:
            raise ValueError(f"estimate must be one of {ESTIMATES}, but got {kind!r}.")
        if not 0 <= decay < 1 or (kind == "unbiased" and not decay):
            raise ValueError(f"smoothing must be in [0, 1), and above 0 for estimate 'unbiased', but got {decay}.")
        self.kind, self.decay = kind, 0.0 if kind == "batch" else decay
        self.total: Tensor | float = 0.0  # sum of w v
        self.squares: Tensor | float = 0.0  # sum of |w v|^2
        self.weight, self.square_weight = 0.0, 0.0  # sums of w and w^2

    def update(self, contrasts: Tensor) -> tuple[Tensor, Tensor]:
        """Takes contrasts [n, C] in.

        Returns:
            The estimate of their square [C], and what estimates the contrasts themselves [n, C]; for ``unbiased`` made
            of earlier draws alone, 0 at the first, so that its product with this draw has no noise squared either.
        """
        draw = contrasts.detach()
        past = self.total / self.weight if isinstance(self.total, Tensor) else torch.zeros_like(draw)
        fresh = 1 - self.decay
        self.total = self.decay * self.total + fresh * draw
        self.squares = self.decay**2 * self.squares + (fresh * draw).square().sum(dim=0)
        self.weight = self.decay * self.weight + fresh
        self.square_weight = self.decay**2 * self.square_weight + fresh**2
        if self.kind != "unbiased":
            mean = self.total / self.weight
            return mean.square().sum(dim=0), mean
        pairs = self.weight**2 - self.square_weight
        products = self.total.square().sum(dim=0) - self.squares
        return (products / pairs if self.weight > fresh else torch.zeros_like(products)), past


def estimated(penalty: Penalty, contrasts: Tensor, mask: Tensor, memory: RunningSquare) -> Tensor:
    """Returns a penalty whose value is that of the estimated squares, and whose derivative comes from this batch.

    Args:
        penalty: What is estimated.
        contrasts: This batch's, [n, C].
        mask: [D].
        memory: Estimates from the batches so far; takes this one in.
    """
    square, mean = memory.update(contrasts)
    return penalty.weigh(square + 2 * (mean * (contrasts - contrasts.detach())).sum(dim=0), mask)

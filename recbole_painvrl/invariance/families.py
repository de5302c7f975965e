"""What distinguishes the environments' projections: every entry, or factors of the columns along a few axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .frozen import FrozenRecommender, score_unit


@dataclass(frozen=True)
class Family:
    """Projections ``base * parameters`` or ``base * (1 + parameters x axes)`` of E environments; k and D their sides.

    Attributes:
        parameters: [E, ...] what is fitted, in units of a score variance of 1.
        base: [k, D] factor of every entry, or a number.
        axes: [r, D] changes of the columns' factors, with ``parameters`` [E, r]; None with ``parameters`` [E, k, D].
    """

    parameters: Tensor
    base: Tensor | float
    axes: Tensor | None = None

    def projections(self) -> Tensor:
        """Returns the projections [E, k, D]."""
        if self.axes is None:
            return self.base * self.parameters
        return self.base * (1 + self.parameters @ self.axes)[:, None, :]

    def pull_back(self, gradients: Tensor) -> Tensor:
        """Returns derivatives by the parameters for those by the projections [E, k, D]."""
        if self.axes is None:
            return self.base * gradients
        return (self.base * gradients).sum(dim=1) @ self.axes.T


def free_projections(frozen: FrozenRecommender, projection: Tensor, n_environments: int) -> Family:
    """Returns the family of all projections, started from one [k, D]."""
    unit = score_unit(frozen)
    return Family((projection / unit).expand(n_environments, *projection.shape).clone(), unit)


def scaled_projections(projection: Tensor, axes: Tensor, n_environments: int) -> Family:
    """Returns the family of one projection [k, D] with factors ``1 + t x axes`` of its columns, all 1 at first."""
    return Family(torch.zeros(n_environments, len(axes)).to(axes), projection, axes)

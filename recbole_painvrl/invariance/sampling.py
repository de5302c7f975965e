"""Batches with the same number of rows from every environment, drawn without a loop over environments or rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .losses import EnvironmentBatch


@dataclass(frozen=True)
class Interactions:
    """Training interactions; n rows.

    Attributes:
        users: [n] user of each row.
        items: [n] item of each row.
    """

    users: Tensor
    items: Tensor

    def __len__(self) -> int:
        """Number of rows."""
        return self.users.shape[0]


def draw_candidates(n_items: int, n_candidates: int | None, generator: torch.Generator, device: torch.device) -> Tensor:
    """Returns different items [N] of 1 to n_items; all of them in order if n_candidates is None, 0 or not smaller."""
    if not n_candidates or n_candidates >= n_items:
        return torch.arange(1, n_items + 1, device=device)
    drawn = torch.randperm(n_items, generator=generator, device=generator.device)[:n_candidates]
    return drawn.to(device) + 1


def standard_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Returns standard normal numbers of the shape, type and device of ``like``; the generator may live elsewhere."""
    drawn = torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return drawn.to(like.device)


class EnvironmentSampler:
    """Draws rows of every environment, each environment's without repetition inside a batch.

    An environment smaller than the batch comes whole and is padded with rows of weight 0.
    """

    def __init__(self, labels: Tensor, n_environments: int, batch_size: int | None, generator: torch.Generator) -> None:
        """Sorts the rows by environment.

        Args:
            labels: [n] environment of each row, 0 to n_environments - 1.
            n_environments: E.
            batch_size: Rows of each environment in a batch; None or 0 takes all.
            generator: Source of randomness; may live on another device than the labels.

        Raises:
            ValueError: An environment has no row.
        """
        self.labels, self.generator = labels, generator
        self.sizes = torch.bincount(labels, minlength=n_environments)
        if int(self.sizes.min()) == 0:
            empty = (self.sizes == 0).nonzero().flatten().tolist()
            raise ValueError(f"every environment needs a row, but these have none: {empty}.")
        largest = int(self.sizes.max())
        self.width = min(batch_size, largest) if batch_size else largest
        self.whole = self.width == largest
        self.order = torch.argsort(labels, stable=True)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Returns row indices [E, B] and their weights [E, B], which add up to 1 in each environment."""
        if not self.whole:
            self.order = self._shuffled()
        place = torch.arange(self.width, device=self.labels.device)
        start = self.sizes.cumsum(0) - self.sizes
        inside = place < self.sizes[:, None]
        rows = self.order[start[:, None] + torch.where(inside, place, 0)]
        return rows, inside.double() / self.sizes.clamp(max=self.width)[:, None]

    def batch(self, interactions: Interactions, candidates: Tensor, dtype: torch.dtype) -> EnvironmentBatch:
        """Returns the next rows of ``interactions`` together with ``candidates`` [N]."""
        rows, weights = self.draw()
        return EnvironmentBatch(interactions.users[rows], interactions.items[rows], weights.to(dtype), candidates)

    def _shuffled(self) -> Tensor:
        """All rows [n] ordered by environment and at random inside each."""
        key = torch.rand(
            self.labels.shape[0], generator=self.generator, device=self.generator.device, dtype=torch.float64
        )
        return torch.argsort(self.labels + key.to(self.labels.device))

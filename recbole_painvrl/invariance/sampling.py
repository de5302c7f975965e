"""Batches with the same number of rows from every environment, drawn without a loop over rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

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
        self.numbers = self.sizes.tolist()
        self.starts = self.sizes.cumsum(0) - self.sizes
        place = torch.arange(self.width, device=labels.device)
        inside = place < self.sizes[:, None]
        self.places = self.starts[:, None] + torch.where(inside, place, 0)
        self.weights = inside.double() / self.sizes.clamp(max=self.width)[:, None]

    def draw(self) -> tuple[Tensor, Tensor]:
        """Returns row indices [E, B] and their weights [E, B], which add up to 1 in each environment."""
        if self.whole:
            return self.order[self.places], self.weights
        key = torch.rand(len(self.labels), generator=self.generator, device=self.generator.device, dtype=torch.float64)
        keys = key.to(self.labels.device)[self.order].split(self.numbers)
        rows = torch.stack([self._least(own) for own in keys]) + self.starts[:, None]
        return self.order[rows], self.weights

    def _least(self, keys: Tensor) -> Tensor:
        """Places [B] of the least keys of one environment, or all and then the first again where it has fewer."""
        if len(keys) <= self.width:
            return pad(torch.arange(len(keys), device=keys.device), (0, self.width - len(keys)))
        return keys.topk(self.width, largest=False).indices

    def batch(self, interactions: Interactions, candidates: Tensor, dtype: torch.dtype) -> EnvironmentBatch:
        """Returns the next rows of ``interactions`` together with ``candidates`` [N]."""
        rows, weights = self.draw()
        return EnvironmentBatch(interactions.users[rows], interactions.items[rows], weights.to(dtype), candidates)

"""Interactions and item features to measure the training step on: real ones, or random ones of the same shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recbole_painvrl.randomness import generator

TIKTOK_SHAPE = (9308, 6710, 59541)  # users, items, training interactions
N_NEGATIVES = 50
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass
class Problem:
    """Training interactions and item features; letters: n interactions, I items, D feature width."""

    name: str
    user: Tensor  # [n]
    item: Tensor  # [n]
    features: Tensor  # [I, D]
    n_users: int

    def batches(self, size: int, count: int = 8) -> Iterator[Batch]:
        """Yields ``count`` random batches (user [B], positive [B], negatives [B, N]), drawn once, over and over."""
        source = generator(0, "benchmark batches")
        drawn = [self._batch(torch.randperm(len(self.user), generator=source)[:size], source) for _ in range(count)]
        return itertools.cycle(drawn)

    def _batch(self, rows: Tensor, source: torch.Generator) -> Batch:
        negatives = torch.randint(len(self.features), (len(rows), N_NEGATIVES), generator=source)
        return self.user[rows], self.item[rows], negatives


def simulated(n_users: int, n_items: int, n_interactions: int) -> Problem:
    """Returns random interactions, items with a long tail, and random features of two modalities of width 128."""
    source = generator(0, "benchmark data")
    popularity = 1.0 / torch.arange(1, n_items + 1, dtype=torch.float32).sqrt()
    item = torch.multinomial(popularity, n_interactions, replacement=True, generator=source)
    user = torch.randint(n_users, (n_interactions,), generator=source)
    modalities = [functional.normalize(torch.randn(n_items, 128, generator=source)) for _ in range(2)]
    return Problem(f"simulated {n_users} x {n_items}", user, item, torch.cat(modalities, dim=1), n_users)


def real(folder: Path) -> Problem:
    """Returns the training interactions and the features of a folder with ``train.csv`` and ``<modality>_feat.npy``."""
    pairs = np.loadtxt(folder / "train.csv", delimiter=",", skiprows=1, usecols=(0, 1), dtype=np.int64)
    tables = [np.load(path, allow_pickle=False) for path in sorted(folder.glob("*_feat.npy"))]
    modalities = [functional.normalize(torch.from_numpy(table.astype(np.float32))) for table in tables]
    user, item = torch.from_numpy(pairs.T.copy())
    return Problem(folder.name, user, item, torch.cat(modalities, dim=1), int(user.max()) + 1)


@dataclass(frozen=True)
class Source:
    """Makes the problem anew in every process: from a folder if it exists, else simulated in a shape."""

    folder: Path
    shape: tuple[int, int, int]

    def __call__(self) -> Problem:
        """Returns the problem."""
        return real(self.folder) if (self.folder / "train.csv").is_file() else simulated(*self.shape)

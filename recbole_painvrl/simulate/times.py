"""When the simulated choices were made: one stay in an environment a day, the environments in each user's own order."""

from __future__ import annotations

import numpy as np

DAY, HALF_DAY, MINUTE = 86_400, 43_200, 60


def timestamps(
    draw: np.random.Generator, users: np.ndarray, environments: np.ndarray, n_users: int, n_known: int, n_all: int
) -> np.ndarray:
    """Returns the second of each interaction, [n], counted from the first midnight so that 32-bit floats hold it.

    Each user visits the training environments on one day each, in a random order; those out of distribution follow in
    their own order. Choices of one stay are a minute apart or closer, so that each stay fits in the half day after its
    start, and keep their order: training, then validation, then test.

    Args:
        draw: Source of the orders and of the time of day at which each user starts.
        users: [n] user of each interaction, from 0.
        environments: [n] environment of each interaction, those of training first.
        n_users: U.
        n_known: Training environments.
        n_all: Environments, those out of distribution included.
    """
    orders = draw.permuted(np.tile(np.arange(n_known), (n_users, 1)), axis=1)
    days = np.concatenate([orders, np.tile(np.arange(n_known, n_all), (n_users, 1))], axis=1)
    starts = draw.integers(0, HALF_DAY, size=n_users)
    positions = _position_in_stay(users * n_all + environments)
    apart = min(MINUTE, HALF_DAY // (int(positions.max()) + 1))
    return days[users, environments] * DAY + starts[users] + positions * apart


def _position_in_stay(stays: np.ndarray) -> np.ndarray:
    """How many rows of the same stay come before each row, [n]."""
    order = np.argsort(stays, kind="stable")
    _, first, counts = np.unique(stays[order], return_index=True, return_counts=True)
    positions = np.empty_like(stays)
    positions[order] = np.arange(len(stays)) - np.repeat(first, counts)
    return positions

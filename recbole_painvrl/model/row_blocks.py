"""Blocks of a table's rows: what is computed of a large table takes the memory of a block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NUMBERS_A_BLOCK = 2**22  # 16 MB in single precision


def row_blocks(values: np.ndarray) -> Iterator[slice]:
    """Yields consecutive slices of the rows of a table [I, D], at least one row each."""
    step = max(1, NUMBERS_A_BLOCK // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        yield slice(start, start + step)


def mean_row(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Returns the mean [D] of the rows that are ``present`` (bool [I]), in double precision; 0 if none is."""
    total = np.zeros(values.shape[1])
    for rows in row_blocks(values):
        total += values[rows][present[rows]].sum(axis=0, dtype=np.float64)
    return total / max(int(present.sum()), 1)


def second_moment(values: np.ndarray, present: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the mean product [D, D] of the present rows less ``mean`` [D], in whose precision they are taken."""
    moment = np.zeros((values.shape[1], values.shape[1]))
    for rows in row_blocks(values):
        centered = values[rows][present[rows]] - mean
        moment += centered.T @ centered
    return moment / max(int(present.sum()), 1)

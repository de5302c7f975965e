"""Scaling the feature rows of one modality. Letters: I items, D feature width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _l2(values: NDArray[Any]) -> None:
    """Scales each row to unit length; a row of zeros stays."""
    norms = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
    values /= np.where(norms > 0, norms, 1).astype(np.float32)[:, None]


def _centered(values: NDArray[Any]) -> None:
    """Subtracts the mean row, then scales each row to unit length."""
    values -= values.mean(axis=0, dtype=np.float64).astype(np.float32)
    _l2(values)


def _standard(values: NDArray[Any]) -> None:
    """Gives each column mean 0 and standard deviation 1; a constant column becomes 0."""
    values -= values.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.einsum("ij,ij->j", values, values, dtype=np.float64) / max(len(values), 1))
    # What float32 rounding leaves of a constant column is no deviation.
    values /= np.where(deviation > 1e-6, deviation, np.inf).astype(np.float32)


def _minmax(values: NDArray[Any]) -> None:
    """Brings each column to 0 .. 1; a constant column becomes 0."""
    low, high = values.min(axis=0), values.max(axis=0)
    values -= low
    values /= np.where(high > low, high - low, 1)


NORMALIZATIONS: dict[str, Callable[[NDArray[Any]], None] | None] = {
    "l2": _l2,
    "centered": _centered,
    "standard": _standard,
    "minmax": _minmax,
    "none": None,
}


def normalize(values: NDArray[Any], missing: NDArray[Any], kind: str) -> None:
    """Scales a feature matrix in place, then gives items without features the mean of the others' scaled rows.

    Statistics (mean row, deviation, extremes) are those of the items that have features, the padding item excluded.

    Args:
        values: Features, float32 [I, D]; row 0 is padding and becomes 0.
        missing: Whether an item has no features, bool [I].
        kind: A key of :data:`NORMALIZATIONS`.
    """
    present = ~missing
    present[0] = False
    # The common case, features for all items, works on a view and needs no second matrix.
    complete = bool(present[1:].all())
    rows = values[1:] if complete else values[present]
    scale = NORMALIZATIONS[kind]
    if scale is not None and len(rows):
        scale(rows)
    if not complete:
        values[present] = rows
        values[~present] = rows.mean(axis=0, dtype=np.float64) if len(rows) else 0
    values[0] = 0

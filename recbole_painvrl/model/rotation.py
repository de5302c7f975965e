"""Rotation of one modality's features to axes of their own.

Letters: I items, D_m feature width, r axes.
"""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import randomized_svd

from recbole_painvrl.model.row_blocks import mean_row, row_blocks, second_moment

ROTATIONS = ("none", "pca", "whiten", "zca")


def rotate(values: np.ndarray, present: np.ndarray, rotation: str, most: int | None = None) -> np.ndarray:
    """Turns one modality's centered features to their principal axes, or equalizes the variance of all directions.

    An axis-aligned mask can only separate what the encoder's axes separate; principal axes undo a mixing encoder as far
    as second moments can.

    Args:
        values: features [I, D_m].
        present: bool [I], the rows that mean and axes are computed from (padding and imputed rows are not).
        rotation: ``none``; ``pca`` (principal axes); ``whiten`` (principal axes, each scaled to equal variance);
            ``zca`` (``whiten`` turned back, which stays as near to the original axes as equal variance allows).
            Directions of practically no variance are left at zero by the last two. The mean length of the rows stays
            that of the centered ones.
        most: keep that many leading directions only (``zca``); None keeps all.

    Returns:
        float32 features [I, D_m]; absent rows are turned along with the others.
    """
    if rotation == "none" or not present.any():
        return values.astype(np.float32, copy=False)
    mean = mean_row(values, present)
    variance, axes = _principal_axes(values, present, mean, most)
    real = variance > 1e-6 * max(variance[0], 1e-30)
    scale = 1.0 if rotation == "pca" else np.where(real, 1 / np.sqrt(np.where(real, variance, 1)), 0)

    def turned(centered: np.ndarray) -> np.ndarray:
        along = centered @ axes * scale
        return along @ axes.T if rotation == "zca" else along

    before, after = np.empty(len(values)), np.empty(len(values))
    for rows in row_blocks(values):
        centered = values[rows] - mean
        before[rows], after[rows] = (np.linalg.norm(block, axis=1) for block in (centered, turned(centered)))
    length = before[present].mean() / max(after[present].mean(), 1e-30)
    found = np.empty((len(values), axes.shape[0 if rotation == "zca" else 1]), dtype=np.float32)
    for rows in row_blocks(values):
        found[rows] = turned(values[rows] - mean) * length
    return found


def _principal_axes(
    values: np.ndarray, present: np.ndarray, mean: np.ndarray, most: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the variances [r], largest first, and the axes [D_m, r] (columns) of the present rows less their mean.

    All of them, or the ``most`` leading ones; of wide features those alone are computed: seconds, not minutes.
    """
    if most is not None and values.shape[1] > 2 * most:
        _, singular, axes = randomized_svd(values[present] - mean, most, random_state=0)
        variance, axes = singular**2 / present.sum(), axes.T
    else:
        variance, axes = np.linalg.eigh(second_moment(values, present, mean))
        variance, axes = variance[::-1][:most], axes[:, ::-1][:, :most]
    # axes have no sign of their own: the largest entry is made positive, so that every machine agrees
    return variance, axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])

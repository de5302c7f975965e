"""A wide modality along its leading directions: what a comparison of contents needs of it, in an eighth of the memory.

Letters: I items, D feature width, r directions.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor, nn

from recbole_painvrl.model.row_blocks import mean_row, row_blocks, second_moment

REAL = 1e-6  # share of the largest variance from which on a direction is one


class LeadingDirections(nn.Module):
    """Whitened coordinates of the items along a modality's leading directions.

    Whitened features ``z @ axes.T`` under a mask ``m`` have the inner products of ``z @ root``, where ``root`` is a
    square root of ``axes.T diag(m)^2 axes``: r columns say what D say.

    Args:
        values: Features [I, D].
        present: bool [I], the items that have some; the others get zeros.
        most: The most directions, r.
    """

    coordinates: Tensor
    axes: Tensor

    def __init__(self, values: np.ndarray, present: np.ndarray, most: int) -> None:
        super().__init__()
        coordinates, axes = _whitened(values, present, most)
        self.register_buffer("coordinates", torch.from_numpy(coordinates), persistent=False)
        self.register_buffer("axes", torch.from_numpy(axes), persistent=False)

    def forward(self, mask: Tensor | None = None) -> Tensor:
        """Returns rows [I, r] with the inner products of the whitened features times ``mask`` [D], None for ones."""
        if mask is None:
            return self.coordinates
        values, vectors = torch.linalg.eigh(self.axes.T @ (self.axes * mask.square()[:, None]))
        return self.coordinates @ (vectors * values.clamp_min(0).sqrt())


def _whitened(values: np.ndarray, present: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns coordinates of unit variance [I, r] and axes [D, r], from moments summed over blocks of rows."""
    mean, width = mean_row(values, present).astype(np.float32), values.shape[1]
    variance, axes = eigh(second_moment(values, present, mean), subset_by_index=(max(width - most, 0), width - 1))
    axes = (axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])).astype(np.float32)
    real = variance > REAL * max(variance[-1], 1e-30)
    scale = np.where(real, 1 / np.sqrt(np.where(real, variance, 1)), 0).astype(np.float32)
    coordinates = np.zeros((len(values), axes.shape[1]), dtype=np.float32)
    for rows in row_blocks(values):
        coordinates[rows] = ((values[rows] - mean) @ axes) * scale * present[rows, None]
    return coordinates, axes

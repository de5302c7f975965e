"""Random rotations that hide the axes of the features, as a real encoder would, and how to judge axes found behind."""

from __future__ import annotations

import numpy as np


def random_rotation(draw: np.random.Generator, width: int) -> np.ndarray:
    """Returns an orthogonal matrix [D, D], uniform over all of them.

    Source: Mezzadri 2007 (QR of a Gaussian matrix, with the signs of R's diagonal moved into Q).
    """
    q, r = np.linalg.qr(draw.standard_normal((width, width)))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


def latent_shares(axes: np.ndarray, rotation: np.ndarray, truth: np.ndarray) -> dict[int, np.ndarray]:
    """How much of each axis lies in the columns of each kind.

    The written features are ``plain @ rotation``, so a direction ``v`` of theirs is ``rotation @ v`` of the plain ones.

    Args:
        axes: [D, K] directions of the written features, one a column (the identity for the features as they are).
        rotation: [D, D] what the plain columns were multiplied with.
        truth: [D] kind of each plain column: 1 invariant, 0 spurious, -1 noise.

    Returns:
        For each kind [K] shares between 0 and 1 that add up to 1 over the kinds.
    """
    squares = (rotation @ axes) ** 2
    squares /= squares.sum(axis=0)
    return {kind: squares[truth == kind].sum(axis=0) for kind in (1, 0, -1)}

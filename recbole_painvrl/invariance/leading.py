"""The largest eigenvalues of a symmetric matrix and their eigenvectors, without the others where these are many.

Letters: D rows and columns, r eigenvalues.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

FULL = 256  # columns up to which all eigenvectors together take no time worth saving
TOLERANCE = 1e-4  # of an eigenvector's residual, as a share of the matrix's scale; single precision allows little less
RESTARTS = 300


def leading(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Returns the ``number`` largest eigenvalues [r] of ``matrix`` [D, D], falling, and their eigenvectors [D, r].

    All of them if there are fewer. Of a wide matrix they come from Lanczos steps with a fixed start, so that equal
    matrices have equal answers: all eigenvectors of 2,000 columns would take a hundred times as long.

    Source: Lehoucq, Sorensen and Yang, "ARPACK users' guide", 1998 (implicitly restarted Lanczos).
    """
    size = len(matrix)
    if size > FULL and 2 * number < size:
        try:
            return _by_steps(matrix, number)
        except ArpackError:  # nothing but zeros, or eigenvalues too close to each other
            pass
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:number], vectors.flip(1)[:, :number]


def _by_steps(matrix: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The same by Lanczos steps.

    Raises:
        ArpackError: They come to no end, or there is nothing to begin with.
    """
    size = len(matrix)
    # What is asked of a residual is a share of its eigenvalue: of 0, which columns without any use have, nothing.
    # By twice the root mean square of all eigenvalues more, the largest is at least that root.
    shift = 2 * float(torch.linalg.matrix_norm(matrix)) / size**0.5

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = torch.from_numpy(vector.reshape(-1)).to(matrix)
        return (matrix @ flat).add_(flat, alpha=shift).double().cpu().numpy()

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    draw = np.random.default_rng(0)
    start = draw.standard_normal(size)
    values, vectors = eigsh(operator, number, which="LA", v0=start, tol=TOLERANCE, maxiter=RESTARTS)
    order = np.argsort(-values)
    return torch.from_numpy(values[order] - shift).to(matrix), torch.from_numpy(vectors[:, order]).to(matrix)

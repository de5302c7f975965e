"""The features of all modalities as one matrix, without a copy where they are one already.

Letters: I items, D_m columns of a modality, D of all of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_one(blocks: list[np.ndarray]) -> Tensor:
    """Returns the blocks [I, D_m] side by side [I, D]: the matrix that they are views of, if there is one."""
    if not blocks:
        return side_by_side(blocks)
    shown = [block for block in blocks if block.strides != (0, 0)]
    base = shown[0] if shown else np.zeros(0)
    while isinstance(base.base, np.ndarray):
        base = base.base
    if base.dtype == np.float32 and base.shape == (len(blocks[0]), sum(block.shape[1] for block in blocks)):
        starts = np.cumsum([0, *(block.shape[1] for block in blocks)])[:-1]
        places = [base[:, start : start + block.shape[1]] for start, block in zip(starts, blocks, strict=True)]
        if all(block.strides == (0, 0) or _same_memory(block, at) for block, at in zip(blocks, places, strict=True)):
            base[:1] = 0.0
            return torch.from_numpy(np.asarray(base))
    return side_by_side(blocks)


def _same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.ctypes.data, one.shape, one.strides, one.dtype) == (
        other.ctypes.data,
        other.shape,
        other.strides,
        other.dtype,
    )


def side_by_side(blocks: list[np.ndarray]) -> Tensor:
    """Returns a copy of the blocks [I, D_m] side by side [I, D], its padding row 0."""
    matrix = np.concatenate(blocks, axis=1) if blocks else np.zeros((0, 0), np.float32)
    matrix[:1] = 0.0
    return torch.from_numpy(matrix)

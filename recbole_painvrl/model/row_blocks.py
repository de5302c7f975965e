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

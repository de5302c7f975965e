"""A table to which batches of rows are added."""

from __future__ import annotations

import torch
from torch import Tensor


class GrowingTable:
    """Rows of one batch below those of the other, in one tensor that becomes twice as large whenever it is full.

    Small tensors that are kept, one a batch, end up between the large ones that each batch makes and frees, and break
    up what the next could use again: at ten million interactions that took 0.7 GB (``benchmarks/paper_size.py``).
    """

    def __init__(self) -> None:
        self._held = torch.empty(0)
        self._n_rows = 0

    def add(self, rows: Tensor) -> None:
        """Adds rows [n, ...] of the shape and type of the first."""
        needed = self._n_rows + len(rows)
        if not self._n_rows:
            self._held = rows.new_empty(rows.shape)
        elif needed > len(self._held):
            larger = rows.new_empty(max(needed, 2 * len(self._held)), *rows.shape[1:])
            larger[: self._n_rows] = self.rows
            self._held = larger
        self._held[self._n_rows : needed] = rows
        self._n_rows = needed

    @property
    def rows(self) -> Tensor:
        """All rows so far [N, ...]; no copy."""
        return self._held[: self._n_rows]

"""Symmetric matrices in half of their memory. D rows and columns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

SLABS = 8  # of which half is kept: 9/16 of the matrix


@dataclass(frozen=True)
class Symmetric:
    """A symmetric matrix [D, D] in little more than half of its memory: those of wide features are a large part of it.

    Attributes:
        slabs: Rows of the lower triangle, as far as the last of them reaches.
    """

    slabs: tuple[Tensor, ...]

    @classmethod
    def of(cls, matrix: Tensor) -> Symmetric:
        """Keeps a matrix, of whose upper triangle only the blocks along the diagonal are looked at."""
        step = max(1, -(-len(matrix) // SLABS))
        return cls(tuple(matrix[stop - step : stop, :stop].clone() for stop in range(step, len(matrix) + step, step)))

    def whole(self) -> Tensor:
        """Returns the matrix."""
        size = self.slabs[-1].shape[1]
        matrix = self.slabs[0].new_empty(size, size)
        for slab in self.slabs:
            stop = slab.shape[1]
            start = stop - len(slab)
            matrix[start:stop, :stop] = slab
            matrix[:start, start:stop] = slab[:, :start].T
        return matrix

    @classmethod
    def combined(cls, *terms: tuple[float, Symmetric]) -> Symmetric:
        """Returns the sum of matrices times factors."""
        (first, start), *others = terms
        slabs = [slab * first for slab in start.slabs]
        for factor, other in others:
            for slab, more in zip(slabs, other.slabs, strict=True):
                slab.add_(more, alpha=factor)
        return cls(tuple(slabs))

    def between(self, lower: Tensor) -> Symmetric:
        """Returns ``lower @ matrix @ lower.T`` for a matrix ``lower`` [D, D] without anything above its diagonal."""
        whole, slabs = self.whole(), []
        for slab in self.slabs:
            stop = slab.shape[1]
            rows = lower[stop - len(slab) : stop, :stop] @ whole[:stop, :stop]
            slabs.append(rows @ lower[:stop, :stop].T)
        return Symmetric(tuple(slabs))

    def is_finite(self) -> bool:
        """Returns whether all of it are numbers."""
        return all(bool(slab.sum().isfinite()) for slab in self.slabs)  # which a sum is not if one of them is none

"""Inner products of the rows of two tables at chosen places alone; needs torch and nothing of this package.

Letters: R rows of the left table, C rows of the right one, d their width, n pairs, Z entries of a pattern.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

_KERNELS = torch.float32, torch.float64  # of torch's sampled product on a CPU


@contextmanager
def beta_warning_off() -> Iterator[None]:
    """Silences torch's notices that CSR tensors are in beta and their indices unchecked, and nothing else."""
    with warnings.catch_warnings():
        for notice in ("Sparse CSR tensor support is in beta state", "Sparse invariant checks are implicitly disabled"):
            warnings.filterwarnings("ignore", message=notice, category=UserWarning)
        yield


def csr(crow: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """Returns the sparse CSR tensor [R, C] with row starts ``crow`` [R + 1], ``column`` [Z] and ``value`` [Z]."""
    with beta_warning_off():
        return torch.sparse_csr_tensor(crow, column, value, size=shape, check_invariants=False)


def entry_products(crow: Tensor, column: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Returns the inner products [Z] of the rows of ``left`` [R, d] and ``right`` [C, d] at the entries of a pattern.

    Args:
        crow: Where each row's entries start [R + 1], of the same integer type as ``column``.
        column: Column of each entry [Z], unchecked; at most R x C of them.
        left: A contiguous table.
        right: A contiguous table of the same type.
    """
    if not column.numel():
        return left.new_zeros(0)
    pattern = csr(crow, column, left.new_zeros(column.numel()), (len(left), len(right)))
    with beta_warning_off():
        return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()


def pair_products(left: Tensor, right: Tensor, left_row: Tensor, right_row: Tensor) -> Tensor:
    """Returns the inner products [n] of the rows of two tables.

    A CPU reads each row of the right table where it lies, and each of the left one once for all pairs of it that follow
    each other: 20 times as fast as gathering both rows of every pair.

    Args:
        left: A table [R, d], such as users.
        right: A table [C, d] of the same type, such as items.
        left_row: Left row of each pair, long [n], in 0..R-1.
        right_row: Its right row, long [n], in 0..C-1.

    Raises:
        IndexError: An index lies outside its table (on a GPU torch ends the process instead).
    """
    if left_row.device.type != "cpu" or right.dtype not in _KERNELS:
        return (left[left_row] * right[right_row]).sum(dim=1)
    if len(right_row):
        smallest, largest = (int(bound) for bound in right_row.aminmax())
        if smallest < 0 or largest >= len(right):
            raise IndexError(f"right rows must lie in 0..{len(right) - 1}, but there are {smallest}..{largest}")
    owner, lengths = torch.unique_consecutive(left_row, return_counts=True)
    rows = left[owner]
    if len(right_row) > len(owner) * len(right):  # all products are fewer, and a pattern has no place for so many
        return (rows @ right.T)[torch.arange(len(owner)).repeat_interleave(lengths), right_row]
    starts = functional.pad(lengths.cumsum(0), (1, 0)).to(right_row.dtype)
    return entry_products(starts, right_row, rows, right.contiguous())

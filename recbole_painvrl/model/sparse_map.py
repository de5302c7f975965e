"""A sparse matrix that need not be symmetric, applied to dense tables, with gradients into table and entries.

Letters: R rows, C columns, Z stored entries, d embedding width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbole_painvrl.model.sparse import row_sums
from recbole_painvrl.products import csr, entry_products


class SparseMap(nn.Module):
    """A sparse matrix [R, C] with the pattern of its transpose, so that neither pass of training sorts anything.

    Everything follows from the data: it moves to the model's device with the model and stays out of its state dict.

    Args:
        row: Row of each entry [Z], in ascending order.
        column: Column of each entry [Z]; each place comes at most once.
        value: Entries [Z].
        shape: (R, C).
    """

    crow: Tensor
    column: Tensor
    value: Tensor
    flipped_crow: Tensor
    flipped_column: Tensor
    order: Tensor

    def __init__(self, row: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        order = torch.argsort(column, stable=True)
        self.register_buffer("crow", _starts(row, shape[0]), persistent=False)
        self.register_buffer("column", column.to(torch.int32), persistent=False)
        self.register_buffer("value", value.detach(), persistent=False)
        self.register_buffer("flipped_crow", _starts(column, shape[1]), persistent=False)
        self.register_buffer("flipped_column", row[order].to(torch.int32), persistent=False)
        self.register_buffer("order", order, persistent=False)

    def forward(self, table: Tensor, value: Tensor | None = None) -> Tensor:
        """Returns the product [R, d] with ``table`` [C, d]; can be differentiated once.

        Args:
            table: Dense rows [C, d].
            value: Other entries [Z] at the same places, differentiable; None takes the stored ones.
        """
        value = self.value if value is None else value
        dtype = torch.promote_types(table.dtype, torch.float32)  # the derivative by the entries knows no half precision
        with torch.autocast(table.device.type, enabled=False):
            pattern = (self.crow, self.column, self.flipped_crow, self.flipped_column, self.order)
            return _Product.apply(table.to(dtype), value.to(dtype), *pattern)

    def to_dense(self) -> Tensor:
        """Returns the matrix [R, C], for small ones."""
        return csr(self.crow, self.column, self.value, self.shape).to_dense()


class _Product(torch.autograd.Function):
    """A sparse product whose backward pass is one sparse product with the transpose."""

    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        value: Tensor,
        crow: Tensor,
        column: Tensor,
        flipped_crow: Tensor,
        flipped_column: Tensor,
        order: Tensor,
    ) -> Tensor:
        """Sums the rows of the table."""
        table = table.contiguous()
        ctx.save_for_backward(table, value, crow, column, flipped_crow, flipped_column, order)
        return row_sums(crow, column, value, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Sums the rows of the gradient; an entry's is the inner product of the two rows that it joins."""
        table, value, crow, column, flipped_crow, flipped_column, order = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_table = of_value = None
        if ctx.needs_input_grad[0]:
            of_table = row_sums(flipped_crow, flipped_column, value[order], gradient)
        if ctx.needs_input_grad[1]:
            of_value = entry_products(crow, column, gradient, table)
        return of_table, of_value, None, None, None, None, None


def _starts(sorted_or_not: Tensor, length: int) -> Tensor:
    """Returns where each of ``length`` numbers begins [length + 1] once they are in order."""
    counts = torch.bincount(sorted_or_not, minlength=length)
    return functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)

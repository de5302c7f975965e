"""Products of a sparse matrix that is not symmetric, against dense algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_painvrl.model.sparse_map import SparseMap
from recbole_painvrl.randomness import generator

ROW, COLUMN = torch.tensor([0, 0, 2, 3, 3]), torch.tensor([1, 4, 0, 0, 4])
SHAPE = (5, 6)


def drawn(*shape: int) -> Tensor:
    """Returns random numbers in double precision that want a gradient."""
    return torch.randn(*shape, generator=generator(1, f"{shape}"), dtype=torch.float64).requires_grad_()


def test_the_product_and_both_gradients_are_those_of_the_dense_matrix() -> None:
    value, table = drawn(5), drawn(6, 3)
    sparse = SparseMap(ROW, COLUMN, value, SHAPE)
    dense = torch.zeros(SHAPE, dtype=torch.float64).index_put((ROW, COLUMN), value)
    torch.testing.assert_close(sparse.to_dense(), dense.detach())
    torch.testing.assert_close(sparse(table), dense.detach() @ table)
    torch.testing.assert_close(sparse(table, 2 * value), 2 * dense @ table)
    assert torch.autograd.gradcheck(lambda table, value: sparse(table, value), (table, value))


def test_stored_entries_get_no_gradient_and_take_the_type_of_the_table() -> None:
    sparse = SparseMap(ROW, COLUMN, torch.rand(5, requires_grad=True), SHAPE)
    table = drawn(6, 2)
    found = sparse(table)
    assert found.dtype == torch.float64 and not sparse.value.requires_grad
    found.sum().backward()
    torch.testing.assert_close(table.grad, sparse.to_dense().double().sum(0)[:, None].expand(6, 2))


@pytest.mark.parametrize("contiguous", [True, False])
def test_a_table_of_any_layout_and_no_entries_at_all(contiguous: bool) -> None:
    table = drawn(3, 6).T
    table = table.contiguous() if contiguous else table
    nothing = torch.zeros(0, dtype=torch.long)
    sparse = SparseMap(nothing, nothing, torch.zeros(0, dtype=torch.float64), SHAPE)
    assert not sparse(table).any() and sparse(table).shape == (5, 3)
    assert torch.autograd.gradcheck(sparse, table)
    torch.testing.assert_close(SparseMap(ROW, COLUMN, torch.ones(5), SHAPE)(table)[2], table[0])


def test_it_moves_with_a_model_and_is_not_stored_with_it() -> None:
    sparse = SparseMap(ROW, COLUMN, torch.ones(5), SHAPE)
    assert not sparse.state_dict()
    assert all(buffer.device.type == "meta" for buffer in sparse.to("meta").buffers())

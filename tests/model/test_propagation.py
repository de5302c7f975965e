"""Graphs and their propagation against dense algebra."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from recbole_painvrl.model.neighbors import neighbor_graph
from recbole_painvrl.model.propagation import normalized_adjacency, propagate
from recbole_painvrl.model.sparse import _transposed_by_sorting, row_sums, transposed
from recbole_painvrl.randomness import generator

USER, ITEM = torch.tensor([1, 1, 2, 3, 3, 3, 1]), torch.tensor([1, 2, 2, 1, 3, 4, 2])
N_USERS, N_ITEMS = 4, 6


def dense_adjacency() -> Tensor:
    """Returns the normalized adjacency [U + I, U + I] in double precision; the pair (1, 2) occurs twice."""
    graph = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS, dtype=torch.float64)
    graph[USER, N_USERS + ITEM] = 1.0
    graph = graph + graph.T
    scale = graph.sum(dim=1).clamp(min=1).rsqrt()
    return scale.unsqueeze(1) * graph * scale


def nodes() -> Tensor:
    """Returns random node vectors [U + I, d]."""
    drawn = torch.randn(N_USERS + N_ITEMS, 3, generator=generator(1, "nodes"), dtype=torch.float64)
    return drawn.requires_grad_()


def test_adjacency_equals_the_dense_one_without_a_warning() -> None:
    """Repeated pairs count once, padding rows are empty, and torch's beta notice stays away."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adjacency = normalized_adjacency(USER, ITEM, N_USERS, N_ITEMS)
    torch.testing.assert_close(adjacency.to_dense(), dense_adjacency().float())
    assert adjacency.crow_indices()[1] == 0
    assert adjacency.crow_indices()[N_USERS] == adjacency.crow_indices()[N_USERS + 1]


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_propagation_equals_dense_powers(n_layers: int) -> None:
    """The result is the mean of the powers of the graph, and so is its gradient."""
    adjacency = normalized_adjacency(USER, ITEM, N_USERS, N_ITEMS).to(torch.float64)
    powers = [torch.linalg.matrix_power(adjacency.to_dense(), layer) for layer in range(n_layers + 1)]
    mean, start = torch.stack(powers).mean(dim=0), nodes()
    torch.testing.assert_close(propagate(adjacency, start, n_layers), mean @ start)
    assert torch.autograd.gradcheck(lambda x: propagate(adjacency, x, n_layers), start)


def test_propagation_takes_a_table_that_is_not_contiguous() -> None:
    """A transposed table gives the same as its copy."""
    adjacency, start = normalized_adjacency(USER, ITEM, N_USERS, N_ITEMS), nodes().detach().float()
    torch.testing.assert_close(propagate(adjacency, start.T.contiguous().T, 2), propagate(adjacency, start, 2))


def test_a_graph_without_interactions_leaves_the_first_layer() -> None:
    """With no edge only the node's own vector counts."""
    nothing = torch.zeros(0, dtype=torch.long)
    adjacency, start = normalized_adjacency(nothing, nothing, N_USERS, N_ITEMS), nodes()
    torch.testing.assert_close(propagate(adjacency, start, 1), start / 2)


def test_transposing_keeps_repeated_entries() -> None:
    """Repeated entries of a row survive transposing and add up in the product."""
    crow, column = torch.tensor([0, 3, 3, 4], dtype=torch.int32), torch.tensor([2, 0, 2, 1], dtype=torch.int32)
    value, table = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.eye(3)
    dense = torch.tensor([[2.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    torch.testing.assert_close(row_sums(crow, column, value, table), dense)
    torch.testing.assert_close(row_sums(*transposed(crow, column, value, 3), table), dense.T)


@pytest.mark.parametrize("block", [2, 100])
def test_neighbors_are_the_nearest_by_cosine(block: int) -> None:
    """Neighbors equal a sort of the dense cosines; empty rows have none and are none."""
    features = torch.randn(12, 5, generator=generator(2, "features"))
    features[[0, 4]] = 0.0
    index, weight = neighbor_graph(features, 3, block=block)
    cosine = torch.cosine_similarity(features.unsqueeze(0), features.unsqueeze(1), dim=2)
    cosine.fill_diagonal_(-2.0)[:, [0, 4]] = -2.0
    full = torch.tensor([row not in (0, 4) for row in range(12)])
    torch.testing.assert_close(weight[full], cosine.topk(3, dim=1).values[full])
    torch.testing.assert_close(cosine.gather(1, index)[full], weight[full])
    assert not index[~full].any() and not weight[~full].any()


def test_missing_neighbors_are_item_zero_with_weight_zero() -> None:
    """Three items have two neighbors each, however many are asked for."""
    features = torch.cat([torch.zeros(1, 2), torch.eye(2), torch.ones(1, 2)])
    index, weight = neighbor_graph(features, 6)
    assert index.shape == weight.shape == (4, 6)
    assert sorted(index[3].tolist()) == [0, 0, 0, 0, 1, 2]
    assert not weight[:, 2:].any()


@pytest.mark.parametrize("width", [torch.int32, torch.int64])
def test_both_ways_to_transpose_give_the_same(width: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    column = torch.randint(7, (40,), generator=source).to(width)  # columns come again in a row; the last two never come
    crow = torch.tensor([0, 5, 5, 21, 40], dtype=width)
    value = torch.randn(40, generator=source)
    ours, theirs = _transposed_by_sorting(crow, column, value, 9), transposed(crow, column, value, 9)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, check_dtype=False, rtol=0, atol=0)

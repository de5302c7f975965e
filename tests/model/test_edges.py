"""Weighted edges against dense algebra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_painvrl.model.edges import Edges, edges_both_ways, edges_to_users
from recbole_painvrl.randomness import generator

USER, ITEM = torch.tensor([1, 3, 2, 1, 3, 3, 1]), torch.tensor([2, 1, 2, 1, 3, 4, 2])
N_USERS, N_ITEMS = 4, 6


def drawn(*shape: int) -> Tensor:
    """Returns random numbers in double precision that want a gradient."""
    return torch.randn(*shape, generator=generator(1, f"{shape}"), dtype=torch.float64).requires_grad_()


def dense(edges: Edges, weight: Tensor) -> Tensor:
    """Returns the weights [Z] as a matrix [T, S]."""
    return torch.zeros(edges.shape, dtype=weight.dtype).index_put((edges.target, edges.source), weight)


@pytest.fixture(params=[edges_to_users, edges_both_ways])
def edges(request: pytest.FixtureRequest) -> Edges:
    """Returns the edges of six distinct interactions, one of which occurs twice."""
    return request.param(USER, ITEM, N_USERS, N_ITEMS)


def test_edges_are_the_distinct_interactions() -> None:
    graph = torch.zeros(N_USERS, N_ITEMS)
    graph[USER, ITEM] = 1.0
    one_way, both_ways = (make(USER, ITEM, N_USERS, N_ITEMS) for make in (edges_to_users, edges_both_ways))
    assert torch.equal(dense(one_way, torch.ones(6)), graph)
    both = dense(both_ways, torch.ones(12))
    assert torch.equal(both[:N_USERS, N_USERS:], graph)
    assert torch.equal(both, both.T)
    assert not both[:N_USERS, :N_USERS].any() and not both[N_USERS:, N_USERS:].any()


def test_sums_and_their_gradients_are_those_of_the_dense_product(edges: Edges) -> None:
    weight, sources = drawn(len(edges)), drawn(edges.shape[1], 3)
    torch.testing.assert_close(edges(sources, weight), dense(edges, weight) @ sources)
    assert torch.autograd.gradcheck(edges, (sources, weight))


def test_products_and_their_gradients_are_those_of_the_ends(edges: Edges) -> None:
    targets, sources = (drawn(n, 3) for n in edges.shape)
    torch.testing.assert_close(edges.products(targets, sources), (targets @ sources.T)[edges.target, edges.source])
    assert torch.autograd.gradcheck(edges.products, (targets, sources))


def test_softmax_is_over_the_edges_of_one_target(edges: Edges) -> None:
    logits = drawn(len(edges))
    absent = dense(edges, torch.ones(len(edges))) == 0
    expected = dense(edges, logits).masked_fill(absent, -torch.inf).softmax(1)
    torch.testing.assert_close(edges.softmax(logits), expected[edges.target, edges.source])
    torch.testing.assert_close(edges.softmax(logits + 1e3), edges.softmax(logits))
    assert torch.autograd.gradcheck(edges.softmax, logits)


def test_without_weights_sources_are_averaged() -> None:
    edges, items = edges_to_users(USER, ITEM, N_USERS, N_ITEMS), drawn(N_ITEMS, 3)
    mean = edges(items)
    torch.testing.assert_close(mean[1], items[[1, 2]].mean(0))
    assert not mean[0].any()


def test_a_graph_without_interactions_sums_to_zero() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    edges, nodes = edges_both_ways(nothing, nothing, N_USERS, N_ITEMS), drawn(N_USERS + N_ITEMS, 3)
    assert not edges(nodes, edges.softmax(edges.products(nodes, nodes))).any()

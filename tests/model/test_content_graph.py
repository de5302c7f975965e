"""Graphs of items of similar content against dense matrices of all similarities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_painvrl.model.content_graph import binary, content_neighbors, learned_weights, mixture, normalized
from recbole_painvrl.randomness import generator
from tests.model.graphs import dense_item_graph


def features(n_items: int = 12, seed: int = 2) -> Tensor:
    """Returns random features [I, 5] in double precision; items 0 and 4 have none."""
    drawn = torch.randn(n_items, 5, generator=generator(seed, "features"), dtype=torch.float64)
    drawn[[0, 4]] = 0.0
    return drawn


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_neighbors", [1, 4])
def test_the_graph_is_the_one_of_the_dense_cosines(n_neighbors: int, weighted: bool) -> None:
    index, cosine = content_neighbors(features(), n_neighbors)
    assert index.shape == cosine.shape == (12, n_neighbors)
    weight = normalized(index, cosine if weighted else binary(cosine))
    graph, _ = mixture(index[None], weight[None])
    torch.testing.assert_close(graph.to_dense(), dense_item_graph(features(), n_neighbors, weighted))
    assert not graph.to_dense()[[0, 4]].any() and not graph.to_dense()[:, [0, 4]].any()


def test_three_items_by_hand() -> None:
    """Item 1 lies between 2 and 3, which are at right angles: each of these keeps itself and item 1."""
    table = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
    index, cosine = content_neighbors(table, 3)
    assert index[:, 0].tolist() == [0, 1, 2, 3]
    assert index[2].tolist() == [2, 1, 0] and cosine[2].tolist() == pytest.approx([1.0, 0.5**0.5, 0.0])
    weight = normalized(index, binary(cosine))
    graph, _ = mixture(index[None], weight[None])
    expected = torch.zeros(4, 4)
    expected[1, 1], expected[2, 2], expected[3, 3] = 1 / 3, 1 / 2, 1 / 2
    expected[1, 2] = expected[2, 1] = expected[1, 3] = expected[3, 1] = 6**-0.5
    torch.testing.assert_close(graph.to_dense(), expected)


def test_a_mixture_is_the_weighted_sum_and_passes_gradients_to_weights_and_features() -> None:
    """The gradient through the sparse graph is that of the same dense computation with the neighbors held."""
    tables = [features(), features(seed=3)]
    found = [content_neighbors(table, 4) for table in tables]
    shares = torch.tensor([0.3, 0.7], dtype=torch.float64)
    start = torch.randn(12, 2, generator=generator(4, "start"), dtype=torch.float64)

    def sparse(one: Tensor, other: Tensor, shares: Tensor) -> Tensor:
        weights = [
            share * normalized(index, learned_weights(table, index, cosine))
            for share, table, (index, cosine) in zip(shares, (one, other), found, strict=True)
        ]
        graph, entries = mixture(torch.stack([index for index, _ in found]), torch.stack(weights))
        return graph(start, entries)

    def dense(one: Tensor, other: Tensor, shares: Tensor) -> Tensor:
        return sum(share * dense_item_graph(t, 4, True) for share, t in zip(shares, (one, other), strict=True)) @ start

    inputs = [part.clone().requires_grad_() for part in (*tables, shares)]
    torch.testing.assert_close(sparse(*inputs), dense(*inputs))
    ours = torch.autograd.grad(sparse(*inputs).sin().sum(), inputs)
    theirs = torch.autograd.grad(dense(*inputs).sin().sum(), inputs)
    present = torch.tensor([item not in (0, 4) for item in range(12)])
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(one[present], other[present])
    torch.testing.assert_close(ours[2], theirs[2])


class _Largest(TorchDispatchMode):
    """Notes the most numbers that any tensor held."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for part in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(part, Tensor) and part.layout == torch.strided:
                self.numbers = max(self.numbers, part.untyped_storage().nbytes() // part.element_size())
        return made


def test_no_tensor_of_items_times_items_is_ever_formed() -> None:
    table = torch.randn(3000, 4, generator=generator(5, "features")).requires_grad_()
    with _Largest() as largest:
        index, cosine = content_neighbors(table, 5)
        graph, entries = mixture(index[None], normalized(index, learned_weights(table, index, cosine))[None])
        graph(torch.ones(3000, 8), entries).sum().backward()
    assert 512 * 3000 <= largest.numbers <= 2 * 512 * 3000 < 3000**2

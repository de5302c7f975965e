"""GRCN's refining and convolution against dense algebra, and what it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.model.learning import (
    assert_every_parameter_learns,
    assert_the_seed_alone_decides,
    dense_graph,
    learned_share,
)
from tests.model.models import build

SMALL = {"feature_size": 6}


def softmax_over(neighbors: Tensor, logits: Tensor) -> Tensor:
    """Returns the softmax of each row over its neighbors, zeros elsewhere."""
    weights = torch.where(neighbors > 0, logits.exp(), 0.0)
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)


def test_tables_are_those_of_a_dense_computation(tmp_path: Path) -> None:
    model, _, loader = build(tmp_path, "GRCN", n_layers=2, n_routing=2, **SMALL)
    with torch.no_grad():
        model.confidence.uniform_(-0.5, 1.0, generator=torch.Generator().manual_seed(3))
    graph, n_users = dense_graph(model, loader), model.n_users
    contents, affinities = [], []
    for network, features in zip(model.prototypes, model.features().values(), strict=True):
        items = functional.normalize(functional.leaky_relu(network.projection(features)), dim=1)
        users = functional.normalize(network.preference.weight, dim=1)
        for _ in range(2):
            share = softmax_over(graph[:n_users, n_users:], users @ items.T)
            users = functional.normalize(users + share @ items, dim=1)
        nodes = torch.cat([users, items])
        contents.append(nodes)
        affinities.append(softmax_over(graph, nodes @ nodes.T))
    trusted = [part * confidence for part, confidence in zip(affinities, model.confidence.T, strict=True)]
    refined = torch.where(graph > 0, torch.maximum(*trusted).relu(), 0.0)
    assert 0 < int((refined > 0).sum()) < int(graph.sum())
    ids = torch.cat([model.user_embedding.weight, model.item_embedding.weight])
    convolved = ids + refined @ ids + refined @ (refined @ ids)
    torch.testing.assert_close(torch.cat(model.tables()), torch.cat([convolved, *contents], dim=1))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"n_routing": 0, "modalities": {"invariant": {"source": "npy"}}},
        {"rec_loss": "softmax", "n_negatives": 0, "n_layers": 1},
        {"rec_loss": "ultragcn", "n_negatives": 10, "negative_weight": 10.0, "n_layers": 2},
    ],
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    assert learned_share(tmp_path, "GRCN", **SMALL, **keys) > 0.85


def test_parameters(tmp_path: Path) -> None:
    assert_the_seed_alone_decides(tmp_path, "GRCN", **SMALL)
    assert_every_parameter_learns(tmp_path, "GRCN", **SMALL)

"""MMGCN's layers against dense algebra, and what it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from recbole_painvrl.errors import UserError
from tests.model.learning import (
    assert_every_parameter_learns,
    assert_the_seed_alone_decides,
    dense_graph,
    learned_share,
)
from tests.model.models import build

SMALL = {"feature_size": 6}


@pytest.mark.parametrize("combination", ["sum", "concat"])
def test_tables_are_those_of_a_dense_computation(tmp_path: Path, combination: str) -> None:
    model, _, loader = build(tmp_path, "MMGCN", n_layers=2, combination=combination, **SMALL)
    graph = dense_graph(model, loader)
    mean = graph / graph.sum(dim=1, keepdim=True).clamp(min=1)
    ids = torch.cat([model.user_embedding.weight, model.item_embedding.weight])
    last = []
    for network, features in zip(model.graphs, model.features().values(), strict=True):
        projected = features @ network.projection.weight.T + network.projection.bias
        x = functional.normalize(torch.cat([network.preference.weight, projected]), dim=1)
        for layer in network.layers:
            w1, w2, w3 = (part.weight.T for part in (layer.neighbors, layer.own, layer.both))
            h, own = functional.leaky_relu(mean @ x @ w1), functional.leaky_relu(x @ w2) + ids
            x = functional.leaky_relu(h @ w3 + own if combination == "sum" else torch.cat([h, own], 1) @ w3)
        last.append(x)
    torch.testing.assert_close(torch.cat(model.tables()), sum(last) / 2)


def test_unknown_combinations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="combination must be one of sum, concat"):
        build(tmp_path, "MMGCN", combination="max")


def test_features_are_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MMGCN needs item features"):
        build(tmp_path, "MMGCN", modalities={})


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"combination": "concat", "modalities": {"invariant": {"source": "npy"}}},
        {"rec_loss": "softmax", "n_negatives": 0, "n_layers": 1},
        {"rec_loss": "ultragcn", "n_negatives": 10, "negative_weight": 1.0},
    ],
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    assert learned_share(tmp_path, "MMGCN", lr=0.01, **SMALL, **keys) > 0.85


def test_parameters(tmp_path: Path) -> None:
    """Ids and preferences of every modality among them."""
    assert_the_seed_alone_decides(tmp_path, "MMGCN", **SMALL)
    assert_every_parameter_learns(tmp_path, "MMGCN", **SMALL)

"""MGCN against dense algebra, its alignment against a cross-entropy, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.model.graphs import dense_adjacency, dense_item_graph, lightgcn, stir
from tests.model.models import build
from tests.model.test_fusion_recommender import share_of_own_parity, train


def built(folder: Path, **keys: Any) -> tuple[Any, Any]:
    """Returns a model and its training loader."""
    model, _, loader = build(folder, "MGCN", **{"output_dir": str(folder), "graph_neighbors": 4, **keys})
    return model, loader


def dense_vectors(model: Any, loader: Any) -> tuple[Tensor, Tensor]:
    """Returns ids and fusion [U + I, d] by the paper's formulas on dense matrices."""
    pairs = loader.dataset.inter_feat
    adjacency = dense_adjacency(pairs["user_id"], pairs["item_id"], model.n_users, model.n_items)
    ids, to_users = lightgcn(model, adjacency), adjacency[: model.n_users, model.n_users :]
    views = []
    for table, project, gate in zip(model.features().values(), model.projections, model.gates, strict=True):
        items = model.item_embedding.weight * torch.sigmoid(project(table) @ gate.weight.T + gate.bias)
        for _ in range(model.n_item_layers):
            items = dense_item_graph(table, 4, weighted=True) @ items
        views.append(torch.cat([to_users @ items, items]))
    inner, _, query = model.attention
    energy = torch.stack([torch.tanh(view @ inner.weight.T + inner.bias) @ query.weight[0] for view in views])
    share = energy.softmax(0)
    shared = share[0][:, None] * views[0] + share[1][:, None] * views[1]
    preferred = [torch.sigmoid(ids @ prefer.weight.T + prefer.bias) for prefer in model.preferences]
    own = [(view - shared) * prefer for view, prefer in zip(views, preferred, strict=True)]
    return ids, shared + (own[0] + own[1]) / 2


def info_nce(fusion: Tensor, ids: Tensor, tau: float) -> Tensor:
    """Returns the mean cross-entropy of finding each row of ids by that of the fusion."""
    logits = F.normalize(fusion, dim=1) @ F.normalize(ids, dim=1).T / tau
    return F.cross_entropy(logits, torch.arange(len(logits)))


@pytest.mark.parametrize("n_item_layers", [1, 2])
def test_tables_losses_and_gradients_are_those_of_the_dense_graphs(tmp_path: Path, n_item_layers: int) -> None:
    model, loader = built(tmp_path, n_item_layers=n_item_layers, ssl_weight=0.7, ssl_tau=0.4, reg_weight=0.0)
    stir(model)
    batch = next(iter(loader))
    ids, fusion = dense_vectors(model, loader)
    users, items = (ids + fusion).split([model.n_users, model.n_items])
    for ours, dense in zip(model.tables(), (users, items), strict=True):
        torch.testing.assert_close(ours, dense)
    nodes = [torch.unique(batch["user_id"]), torch.unique(batch["item_id"]) + model.n_users]
    expected = model.ranking_loss(users, items, batch)
    aligned = 0.7 * sum(info_nce(fusion[side], ids[side], 0.4) for side in nodes)
    ranking, alignment = model.calculate_loss(batch)
    torch.testing.assert_close(ranking, expected)
    torch.testing.assert_close(alignment, aligned)
    parameters = list(model.parameters())
    for ours, dense in zip(
        torch.autograd.grad(ranking + alignment, parameters),
        torch.autograd.grad(expected + aligned, parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-4)


def test_one_modality_is_all_shared(tmp_path: Path) -> None:
    """With a single modality there is nothing of its own beside what is shared."""
    model, _ = built(tmp_path, modalities={"invariant": {"source": "npy"}})
    stir(model)
    _, fusion = model.vectors()
    torch.testing.assert_close(fusion, model.modality_views()[0])


def test_other_features_of_the_same_shape_get_another_graph(tmp_path: Path) -> None:
    """Graphs stored by a run are of no use to one with other features under the same names."""
    model, _ = built(tmp_path / "one", output_dir=str(tmp_path))
    again, _ = built(tmp_path / "one", output_dir=str(tmp_path))
    assert torch.equal(model.item_graphs[0].to_dense(), again.item_graphs[0].to_dense())
    assert len(list((tmp_path / "cache").iterdir())) == 2
    swapped = {"invariant": {"source": "npy", "file": "board.spurious.npy"}, "spurious": {"source": "npy"}}
    other, _ = built(tmp_path / "one", output_dir=str(tmp_path), modalities=swapped)
    torch.testing.assert_close(other.item_graphs[0].to_dense(), model.item_graphs[1].to_dense())
    assert len(list((tmp_path / "cache").iterdir())) == 2  # named by content, so both are used again


@pytest.mark.parametrize(
    "keys", [{}, {"rec_loss": "softmax", "n_negatives": 0}, {"rec_loss": "ultragcn", "n_negatives": 10}]
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    model, loader = built(tmp_path, **keys)
    train(model, loader, steps=60)
    assert share_of_own_parity(model, loader, k=2) > 0.85

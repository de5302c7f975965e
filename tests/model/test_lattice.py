"""LATTICE against dense algebra, when its graph is built, and what it learns."""

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
    keys = {"graph_neighbors": 4, "feature_size": 5, **keys}
    model, _, loader = build(folder, "LATTICE", output_dir=str(folder), **keys)
    return model, loader


def dense_tables(model: Any, loader: Any) -> tuple[Tensor, Tensor]:
    """Returns the scoring tables by the paper's formulas on matrices of all items."""
    pairs = loader.dataset.inter_feat
    ids = lightgcn(model, dense_adjacency(pairs["user_id"], pairs["item_id"], model.n_users, model.n_items))
    graph = 0.0
    shares = model.modality_logits.softmax(0)
    for share, table, transform in zip(shares, model.features().values(), model.transforms, strict=True):
        seen = transform(table) * (table.abs().sum(1, keepdim=True) > 0)
        mixed = 0.6 * dense_item_graph(table, 4, weighted=True) + 0.4 * dense_item_graph(seen, 4, weighted=True)
        graph = graph + share * mixed
    alike = model.item_embedding.weight
    for _ in range(model.n_item_layers):
        alike = graph @ alike
    return ids[: model.n_users], ids[model.n_users :] + F.normalize(alike, dim=1)


@pytest.mark.parametrize("n_item_layers", [1, 2])
def test_the_first_step_and_its_gradients_are_those_of_the_dense_graphs(tmp_path: Path, n_item_layers: int) -> None:
    """Every parameter's gradient, those of the maps and of the modalities' weights among them."""
    model, loader = built(tmp_path, initial_graph_weight=0.6, reg_weight=0.0, n_item_layers=n_item_layers)
    stir(model)
    batch = next(iter(loader))
    for ours, dense in zip(model.tables(), dense_tables(model, loader), strict=True):
        torch.testing.assert_close(ours, dense)
    loss, expected = model.calculate_loss(batch), model.ranking_loss(*dense_tables(model, loader), batch)
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    for ours, dense in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(ours, dense, atol=1e-6, rtol=1e-4)
        assert ours.any()


def test_the_first_step_of_an_epoch_builds_the_graph_for_the_others(tmp_path: Path) -> None:
    """Later steps neither build nor train it; evaluation builds it from the present parameters and leaves no trace."""
    model, loader = built(tmp_path)
    stir(model)
    batch = next(iter(loader))
    model.calculate_loss(batch).backward()
    graph, gradients = model.graph, [model.transforms[0].weight.grad, model.modality_logits.grad]
    assert all(gradient is not None and gradient.any() for gradient in gradients)
    assert not any(buffer.requires_grad for buffer in graph.buffers())
    model.zero_grad()
    with torch.no_grad():
        model.transforms[0].weight.neg_().add_(1.0)
    model.calculate_loss(batch).backward()
    assert model.graph is graph and model.transforms[0].weight.grad is None and model.modality_logits.grad is None
    assert model.user_embedding.weight.grad.any()
    present, _ = model.build_graph()
    assert not torch.equal(present.to_dense(), graph.to_dense())
    torch.testing.assert_close(model.tables()[1], model.vectors(present)[1])
    assert model.graph is graph
    model.before_epoch()
    model.calculate_loss(batch)
    torch.testing.assert_close(model.graph.to_dense(), present.to_dense())


def test_modalities_weigh_equally_before_training_and_the_padding_is_in_no_graph(tmp_path: Path) -> None:
    model, _ = built(tmp_path)
    assert model.modality_logits.softmax(0).tolist() == [0.5, 0.5]
    with torch.no_grad():
        for transform in model.transforms:
            transform.bias.fill_(9.0)
    graph = model.build_graph()[0].to_dense()
    assert not graph[0].any() and not graph[:, 0].any()


def test_without_layers_the_backbone_is_a_matrix_factorization(tmp_path: Path) -> None:
    model, _ = built(tmp_path, n_layers=0, n_item_layers=0)
    users, items = model.tables()
    assert torch.equal(users, model.user_embedding.weight)
    torch.testing.assert_close(
        items[1:], model.item_embedding.weight[1:] + F.normalize(model.item_embedding.weight[1:])
    )


@pytest.mark.parametrize(
    "keys",
    [{}, {"n_layers": 0}, {"rec_loss": "softmax", "n_negatives": 0}, {"rec_loss": "ultragcn", "n_negatives": 10}],
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    model, loader = built(tmp_path, **keys)
    for _ in range(3):
        model.before_epoch()
        train(model, loader, steps=20)
    assert share_of_own_parity(model, loader, k=2) > 0.85

"""SLMRec against dense algebra written out, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.model.graphs import dense_adjacency, stir
from tests.model.learning import assert_every_parameter_learns, assert_the_seed_alone_decides, learned_share
from tests.model.models import build


def built(folder: Path, **keys: Any) -> tuple[Any, Any]:
    """Returns a model, its parameters drawn anew, and its training loader."""
    model, _, loader = build(folder, "SLMRec", **keys)
    stir(model)
    return model, loader


def dense_parts(model: Any, loader: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the users and the items of each graph, ids first, by dense algebra."""
    pairs = loader.dataset.inter_feat
    graph = dense_adjacency(pairs["user_id"], pairs["item_id"], model.n_users, model.n_items)
    starts = [model.item_embedding.weight]
    for projection, table in zip(model.projections, model.features().values(), strict=True):
        starts.append(table @ projection.weight.T + projection.bias)
    users, items = [], []
    for start in starts:
        layer = torch.cat([model.user_embedding.weight, start])
        mean = layer / 3
        for _ in range(2):
            layer = graph @ layer
            mean = mean + layer / 3
        users.append(mean[: model.n_users])
        items.append(mean[model.n_users :])
    return users, items


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_tables_by_dense_algebra(tmp_path: Path, temperature: float | None) -> None:
    model, loader = built(tmp_path, n_layers=2, temperature=temperature)
    users, items = (torch.cat(parts, dim=1) for parts in dense_parts(model, loader))
    users = users @ model.fuse_users.weight.T + model.fuse_users.bias
    items = items @ model.fuse_items.weight.T + model.fuse_items.bias
    if temperature:
        users, items = users / users.norm(dim=1, keepdim=True) / 0.5, items / items.norm(dim=1, keepdim=True)
    for expected, found in zip((users, items), model.tables(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_loss_by_hand(tmp_path: Path) -> None:
    model, loader = built(tmp_path, n_layers=2, ssl_weight=0.7, ssl_tau=0.3, reg_weight=0.2)
    batch = next(iter(loader))
    user, item = batch["user_id"], batch["item_id"]
    users, items = model.tables()
    known = torch.unique(loader.dataset.inter_feat["item_id"])
    chosen = (known == item[:, None]).nonzero()[:, 1]
    expected = F.cross_entropy(users[user] @ items[known].T, chosen)
    nodes = torch.unique(item)
    ids, *modalities = (part[nodes] for part in dense_parts(model, loader)[1])
    for coarser, project, modality in zip(model.to_coarser, model.from_modality, modalities, strict=True):
        ids = coarser(ids)
        cosine = F.cosine_similarity(ids[:, None], project(modality)[None], dim=2)
        expected = expected + 0.7 * F.cross_entropy(cosine / 0.3, torch.arange(len(nodes)))
    lengths = model.user_embedding.weight[user].square().sum() + model.item_embedding.weight[item].square().sum()
    expected = expected + 0.2 * lengths / (2 * len(batch))
    torch.testing.assert_close(model.calculate_loss(batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"n_negatives": 10},
        {"rec_loss": "bpr", "n_negatives": 4},
        {"rec_loss": "ultragcn", "n_negatives": 10, "negative_weight": 10.0, "temperature": None},
    ],
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert learned_share(tmp_path, "SLMRec", lr=0.02, **keys) > 0.85


def test_every_parameter_learns(tmp_path: Path) -> None:
    assert_every_parameter_learns(tmp_path, "SLMRec")


def test_without_weight_nothing_is_contrasted(tmp_path: Path) -> None:
    model, loader = built(tmp_path, ssl_weight=0.0)
    model.calculate_loss(next(iter(loader))).backward()
    assert all(parameter.grad is None for parameter in model.to_coarser.parameters())


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    assert_the_seed_alone_decides(tmp_path, "SLMRec")

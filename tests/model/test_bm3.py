"""BM3 against its formulas written out, where its gradients stop, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_painvrl.model.general_recommender.bm3 import cost
from tests.model.graphs import dense_adjacency, lightgcn, stir
from tests.model.learning import assert_every_parameter_learns, assert_the_seed_alone_decides, learned_share
from tests.model.models import build


def built(folder: Path, **keys: Any) -> tuple[Any, Any]:
    """Returns a model, its parameters drawn anew, and its training loader."""
    model, _, loader = build(folder, "BM3", **keys)
    stir(model)
    return model, loader


def dense_representations(model: Any, loader: Any) -> tuple[Tensor, Tensor]:
    """Returns h of users and items by dense algebra."""
    pairs = loader.dataset.inter_feat
    graph = dense_adjacency(pairs["user_id"], pairs["item_id"], model.n_users, model.n_items)
    both = lightgcn(model, graph)
    return both[: model.n_users], both[model.n_users :] + model.item_embedding.weight


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()


def test_scores_are_inner_products_of_predictions(tmp_path: Path) -> None:
    model, loader = built(tmp_path, n_layers=2)
    for table, found in zip(dense_representations(model, loader), model.tables(), strict=True):
        torch.testing.assert_close(found, table @ model.predictor.weight.T + model.predictor.bias)


def test_the_loss_by_hand(tmp_path: Path) -> None:
    """Without dropout a view is the representation itself."""
    model, loader = built(tmp_path, dropout_prob=0.0, modality_loss_weight=0.7, reg_weight=0.3)
    batch = next(iter(loader))
    assert set(batch.interaction) == {"row", "user_id", "item_id"}
    users, items = dense_representations(model, loader)
    user, item = users[batch["user_id"]], items[batch["item_id"]]
    w, b = model.predictor.weight, model.predictor.bias
    expected = 2 - cosine(user @ w.T + b, item).mean() - cosine(item @ w.T + b, user).mean()
    for projection, table in zip(model.projections, model.features().values(), strict=True):
        content = table[batch["item_id"]] @ projection.weight.T + projection.bias
        own, other = cosine(content @ w.T + b, content).mean(), cosine(content @ w.T + b, item).mean()
        expected = expected + 0.7 * (2 - own - other)
    expected = expected + 0.3 * (user.square().sum() + item.square().sum()) / (2 * len(batch))
    torch.testing.assert_close(model.calculate_loss(batch), expected)


def test_no_gradient_passes_a_view(tmp_path: Path) -> None:
    """A predictor of zeros and a bias passes no gradient to what it predicts from: views would be the only way."""
    model, loader = built(tmp_path, reg_weight=0.0)
    with torch.no_grad():
        model.predictor.weight.zero_()
    model.calculate_loss(next(iter(loader))).backward()
    assert bool(model.predictor.bias.grad.any())
    for parameter in (model.user_embedding.weight, model.item_embedding.weight, *model.projections.parameters()):
        assert not parameter.grad.any()


def test_a_view_leaves_that_share_out(tmp_path: Path) -> None:
    model, _ = built(tmp_path, dropout_prob=0.3)
    rows = torch.ones(500, 40)
    first, second = model.view(rows), model.view(rows)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert float(first.mean()) == pytest.approx(0.7, abs=0.02)
    assert not torch.equal(first, second)


def test_cost_is_least_along_the_view() -> None:
    rows = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert float(cost(2 * rows, rows)) == pytest.approx(0.0, abs=1e-6)
    assert float(cost(-rows, rows)) == pytest.approx(2.0, abs=1e-6)


def test_learns_the_checkerboard(tmp_path: Path) -> None:
    assert learned_share(tmp_path, "BM3", lr=0.02, steps=100, reg_weight=0.0) > 0.85


def test_every_parameter_learns(tmp_path: Path) -> None:
    assert_every_parameter_learns(tmp_path, "BM3")


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    assert_the_seed_alone_decides(tmp_path, "BM3")


def test_rec_loss_does_not_apply(tmp_path: Path) -> None:
    """A key given to a list of models may hold for the others."""
    plain, loader = built(tmp_path)
    other, _ = built(tmp_path, rec_loss="bpr", n_negatives=3)
    batch = next(iter(loader))
    assert torch.equal(plain.calculate_loss(batch), other.calculate_loss(batch))
    assert "negatives" not in batch.interaction and other.loader_negatives({"rec_loss": "bpr", "n_negatives": 3}) == 0

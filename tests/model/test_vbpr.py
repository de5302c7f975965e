"""VBPR's score and loss, and what it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.model.learning import assert_every_parameter_learns, assert_the_seed_alone_decides, learned_share
from tests.model.models import build

SMALL = {"feature_size": 6}


def test_scores_and_loss_are_those_of_the_paper(tmp_path: Path) -> None:
    model, _, loader = build(tmp_path, "VBPR", reg_weight=0.3, **SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    features = torch.cat(list(model.features().values()), dim=1)
    assert features.shape == (model.n_items, 8)
    gamma_u, theta_u = model.user_embedding.weight.split([8, 6], dim=1)
    gamma_i, theta_i = model.item_embedding.weight, features @ model.projection.weight.T
    scores = gamma_u @ gamma_i.T + theta_u @ theta_i.T + model.item_bias + features @ model.feature_bias
    users, items = model.tables()
    torch.testing.assert_close(users @ items.T, scores)
    batch = next(iter(loader))
    u, i, j = batch["user_id"], batch["item_id"], batch["negatives"][:, 0]
    squares = sum(
        (rows**2).sum()
        for rows in (gamma_u[u], theta_u[u], gamma_i[i], gamma_i[j], model.item_bias[i], model.item_bias[j])
    )
    expected = -functional.logsigmoid(scores[u, i] - scores[u, j]).mean() + 0.3 * squares / (2 * len(batch))
    torch.testing.assert_close(model.calculate_loss(batch), expected)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"modalities": {"invariant": {"source": "npy"}}},
        {"rec_loss": "softmax", "n_negatives": 0},
        {"rec_loss": "ultragcn", "n_negatives": 10, "negative_weight": 10.0},
    ],
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    assert learned_share(tmp_path, "VBPR", **SMALL, **keys) > 0.85


def test_parameters(tmp_path: Path) -> None:
    assert_the_seed_alone_decides(tmp_path, "VBPR", **SMALL)
    assert_every_parameter_learns(tmp_path, "VBPR", **SMALL)

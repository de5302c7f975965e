"""MF is ERM without features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.model.learning import assert_every_parameter_learns, assert_the_seed_alone_decides, learned_share
from tests.model.models import build
from tests.model.test_fusion_recommender import train


@pytest.mark.parametrize("keys", [{}, {"temperature": 0.2, "rec_loss": "bpr", "n_negatives": 3, "reg_weight": 0.5}])
def test_it_is_erm_without_features_to_the_last_bit(tmp_path: Path, keys: dict) -> None:
    """Loss, gradients with their weight decay, and the scores after training are equal."""
    erm, _, erm_loader = build(tmp_path, "ERM", modalities={}, **keys)
    mf, _, mf_loader = build(tmp_path, "MF", **keys)
    for one, other in zip(erm_loader, mf_loader, strict=True):
        assert torch.equal(erm.calculate_loss(one), mf.calculate_loss(other))
    train(erm, erm_loader, steps=3)
    train(mf, mf_loader, steps=3)
    for one, other in zip(erm.tables(), mf.tables(), strict=True):
        assert torch.equal(one, other)


def test_its_defaults_are_those_of_erm(tmp_path: Path) -> None:
    erm, mf = (build(tmp_path, model)[1] for model in ("ERM", "MF"))
    keys = ("rec_loss", "reg_weight", "init_std", "learning_rate", "train_batch_size", "batch_by", "temperature")
    assert [mf[key] for key in keys] == [erm[key] for key in keys]


@pytest.mark.parametrize("keys", [{}, {"rec_loss": "ultragcn", "n_negatives": 10, "negative_weight": 10.0}])
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    assert learned_share(tmp_path, "MF", **keys) > 0.85


def test_parameters(tmp_path: Path) -> None:
    assert_the_seed_alone_decides(tmp_path, "MF")
    assert_every_parameter_learns(tmp_path, "MF")

"""A step on the gradient of some rows is Adam's step on the whole gradient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_painvrl.errors import UserError
from recbole_painvrl.model import objective
from recbole_painvrl.trainer import row_adam
from recbole_painvrl.trainer.multimodal_trainer import MultimodalTrainer
from recbole_painvrl.trainer.row_adam import RowAdam
from tests.trainer.test_run_trainer import STAGES, configuration, trained
from tests.trainer.test_run_trainer import started as started_run

MODELS = ("ERM", "VBPR", "LATTICE", "PaInvRL")
CANDIDATES = {"rec_loss": "softmax", "n_negatives": 6, "backbone": "mf"}


@pytest.fixture
def few_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data have their touched items gathered too, and tables have more than one block."""
    monkeypatch.setattr(objective, "worthwhile", lambda n_touched, n_items: True)
    monkeypatch.setattr(row_adam, "BLOCK_ELEMENTS", 64)


def steps(optimizer: torch.optim.Optimizer, table: Tensor, other: Tensor, sparse: bool) -> Iterator[None]:
    """Steps that touch no row, some rows, and the last row alone."""
    source = torch.Generator().manual_seed(2)
    for rows in ([], [3, 8, 20], [0, 1, 9, 22], [22], []):
        optimizer.zero_grad()
        weight = torch.randn(len(rows), table.shape[1], generator=source)
        touched = F.embedding(torch.tensor(rows, dtype=torch.long), table, sparse=sparse)
        ((touched * weight).sum() + other.square().sum()).backward()
        optimizer.step()
        yield


def started(kind: Any, **keys: Any) -> tuple[Any, Tensor, Tensor]:
    drawn = torch.randn(24, 16, generator=torch.Generator().manual_seed(1))
    table, other = torch.nn.Parameter(drawn[:23].clone()), torch.nn.Parameter(drawn[23].clone())
    return kind([{"params": [table], "weight_decay": 0.1}, {"params": [other]}], lr=0.03, **keys), table, other


def test_rows_are_updated_as_the_whole_table_is(few_touched: None) -> None:
    ours, table, other = started(RowAdam)
    theirs, whole, alone = started(torch.optim.Adam, fused=True)
    for _ in zip(steps(ours, table, other, True), steps(theirs, whole, alone, False), strict=True):
        torch.testing.assert_close(table, whole, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(other, alone, rtol=0, atol=0)
        assert table.grad is not None and table.grad.is_sparse
    assert not torch.equal(table, started(RowAdam)[1])


def test_states_are_those_of_torchs_adam(few_touched: None) -> None:
    ours, table, other = started(RowAdam)
    theirs, whole, alone = started(torch.optim.Adam, fused=True)
    list(steps(ours, table, other, True))
    list(steps(theirs, whole, alone, False))
    found = ours.state_dict()["state"]
    for number, known in theirs.state_dict()["state"].items():
        mine = found[number]
        assert set(mine) == set(known)
        for name, value in known.items():
            torch.testing.assert_close(mine[name], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("model", "keys"), [("ERM", {}), ("PaInvRL", {**STAGES, "variant_training_weight": 0.5})])
def test_a_training_with_gradients_of_rows_is_the_one_with_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_touched: None, model: str, keys: dict[str, Any]
) -> None:
    rows, _ = trained(configuration(model, tmp_path, 3, **CANDIDATES, **keys))
    monkeypatch.setattr(MultimodalTrainer, "_takes_row_gradients", lambda self: False)
    whole, _ = trained(configuration(model, tmp_path, 3, **CANDIDATES, **keys))
    assert rows.model.row_gradients and not whole.model.row_gradients
    for mine, known in zip(rows.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(mine, known, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("keys", [{"clip_grad_norm": {"max_norm": 1.0}}, {"learner": "sgd"}, {"enable_scaler": True}])
def test_whole_gradients_where_something_else_looks_at_them(
    tmp_path: Path, few_touched: None, keys: dict[str, Any]
) -> None:
    trainer, _ = trained(configuration("ERM", tmp_path, 1, **CANDIDATES, **keys))
    assert not trainer.model.row_gradients


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd"])
def test_recboles_weight_decay_adds_to_the_models_own(tmp_path: Path, model: str, learner: str) -> None:
    decays = []
    for further in (0.0, 0.25):
        keys = {"learner": learner, "weight_decay": further, "reg_weight": 0.01, **STAGES}
        trainer, _ = started_run(configuration(model, tmp_path, 2, **keys), None)
        decays.append([group["weight_decay"] for group in trainer.optimizer.param_groups])
    assert decays[1] == pytest.approx([own + 0.25 for own in decays[0]])


def test_a_learner_of_sparse_gradients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learner: sparse_adam takes sparse gradients alone.* use adam"):
        _ = started_run(configuration("ERM", tmp_path, 2, learner="sparse_adam"), None)[0].optimizer

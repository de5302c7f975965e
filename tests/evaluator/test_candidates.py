"""The narrow table of candidates ranks as RecBole's matrix of all items does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.trainer import Trainer

from recbole_painvrl.evaluator.candidates import table
from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.trainer import evaluation
from tests.inputs import write_checkerboard

N_ITEMS = 30


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns rows, items and scores, one score a pair; pairs are there several times."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat([torch.arange(7), torch.randint(7, (60,), generator=generator)])
    items = torch.randint(1, N_ITEMS, (67,), generator=generator)
    return rows, items, torch.rand(7, N_ITEMS, generator=generator)[rows, items]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [1, 40])
def test_every_candidate_has_one_column_with_its_score(seed: int, width: int) -> None:
    rows, items, scores = drawn(seed)
    found = table(rows, items, scores, N_ITEMS, width)
    dense = torch.full((7, N_ITEMS), -torch.inf)
    dense[rows, items] = scores
    back = torch.full((7, N_ITEMS), -torch.inf)
    back.scatter_(1, found.items, found.scores)
    assert torch.equal(back, dense)
    columns = found.columns(rows, items)
    assert torch.equal(found.scores[rows, columns], scores) and torch.equal(found.items[rows, columns], items)
    assert (found.scores[:, 0] == -torch.inf).all() and found.scores.shape[1] >= width
    assert found.scores.isfinite().sum() == dense.isfinite().sum()
    for row in found.items:
        assert torch.equal(row[row > 0], torch.unique(row[row > 0]))


def dense_batch(trainer: Any, batch: Any) -> Any:
    """RecBole's own way, with scores in pieces as ours has them."""
    return Trainer._neg_sample_batch_eval(trainer, batch)


@pytest.mark.parametrize("model", ["ERM", "BPR"])
@pytest.mark.parametrize("mode", ["uni7", "pop7"])
def test_a_run_has_the_results_of_recboles_matrix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, mode: str
) -> None:
    metrics = ["Recall", "MRR", "NDCG", "Hit", "MAP", "Precision", "GAUC", "ItemCoverage", "TailPercentage"]
    keys = write_checkerboard(tmp_path).config(
        epochs=2, eval_args={"mode": mode}, metrics=metrics, topk=[1, 2], eval_batch_size=100, eval_groups=["warm"]
    )
    monkeypatch.setattr(evaluation, "PAIRS", 16)
    ours = run_recbole_painvrl(model, "board", config_dict=keys | {"output_dir": str(tmp_path / "ours")})
    monkeypatch.setattr(evaluation.EvaluationMixin, "_neg_sample_batch_eval", dense_batch)
    theirs = run_recbole_painvrl(model, "board", config_dict=keys | {"output_dir": str(tmp_path / "theirs")})
    for part in ("best_valid_result", "test_results", "groups"):
        assert ours[part] == theirs[part]
    assert len(ours["test_results"]["test"]) == 2 * len(metrics) - 1  # GAUC has no cutoff


def test_values_of_drawn_candidates(tmp_path: Path) -> None:
    """Liked items of the checkerboard score higher than drawn ones, of which some are liked too."""
    keys = write_checkerboard(tmp_path).config(
        epochs=30, eval_args={"mode": "uni7"}, metrics=["AUC", "LogLoss"], valid_metric="AUC"
    )
    found = run_recbole_painvrl("ERM", "board", config_dict=keys | {"output_dir": str(tmp_path / "runs")})
    assert found["test_result"]["auc"] > 0.6 and found["test_result"]["logloss"] > 0

"""The variations that RecBole's own tests run its general recommenders in, for every model of this package."""

from __future__ import annotations

import itertools
import math
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.errors import UserError
from recbole_painvrl.model import general_recommender
from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.utils import model_names
from tests.inputs import write_checkerboard, write_interactions

OURS = {module.name for module in pkgutil.iter_modules(general_recommender.__path__)}
MODELS = [name for name in model_names() if name.lower() in OURS]
ORDERS = ("RO", "TO")
SPLITS: dict[str, dict[str, Any]] = {"RS": {"RS": [0.8, 0.1, 0.1]}, "LS": {"LS": "valid_and_test"}}
GROUPS = ("user", None)
MODES = ("full", "uni5", "pop5", "labeled")
SETTINGS = list(itertools.product(ORDERS, SPLITS, GROUPS, MODES))
# every value of one variation with every value of another at least once over the models
FEW = [
    (model, SETTINGS[(11 * number + 7 * part) % len(SETTINGS)])
    for number, model in enumerate(MODELS)
    for part in range(2)
]
LOSSES = ("ultragcn", "softmax", "bpr")
SHORT: dict[str, dict[str, Any]] = {
    "PaInvRL": {
        "epochs": 2, "warmup_epochs": 1, "n_rounds": 1, "n_environments": 2, "env_max_iter": 2, "mask_steps": 3
    },
    "InvRL": {"epochs": 2, "warmup_epochs": 1, "n_rounds": 1, "n_environments": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkerboard in one file, with ratings of which some are no positive, and with timestamps."""
    folder = tmp_path_factory.mktemp("data")
    board = write_checkerboard(folder)
    rows = pd.concat([board.train, board.valid, board.test, board.test_ood])[["user_id", "item_id"]]
    random = np.random.default_rng(0)
    rows = rows.assign(rating=random.integers(1, 6, len(rows)), timestamp=np.arange(len(rows)))
    write_interactions(folder, "board", rows)
    return folder


def run(model: str, data_path: Path, folder: Path, **keys: Any) -> dict[str, float]:
    """Trains for as little as there is and returns the test result."""
    given = {
        "data_path": str(data_path),
        "output_dir": str(folder / "runs"),
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id"]},
        "threshold": {"rating": 3},
        "epochs": 1,
        "train_batch_size": 128,
        "use_gpu": False,
        "show_progress": False,
        **SHORT.get(model, {}),
    }
    found = run_recbole_painvrl(model=model, dataset="board", config_dict=given | keys)
    assert math.isfinite(found["best_valid_score"])
    result: dict[str, float] = dict(found["test_result"])
    assert result and all(math.isfinite(value) for value in result.values())
    return result


def check(model: str, setting: tuple[str, str, str | None, str], data_path: Path, folder: Path) -> None:
    order, split, group, mode = setting
    keys: dict[str, Any] = {
        "eval_args": {"order": order, "split": SPLITS[split], "group_by": group, "mode": mode},
    }
    if mode == "labeled":
        result = run(model, data_path, folder, metrics=["AUC", "LogLoss"], valid_metric="AUC", **keys)
        assert 0 <= result["auc"] <= 1 and result["logloss"] > 0
        return
    result = run(model, data_path, folder, **keys)
    assert all(0 <= value <= 1 for value in result.values())
    if group == "user":  # at most 5 drawn items beside each positive, or 17 that the user has not seen
        assert result["recall@20"] == pytest.approx(1)


def test_every_model_is_here() -> None:
    assert len(MODELS) == len(OURS)


@pytest.mark.parametrize(("model", "setting"), FEW, ids=str)
def test_some_variations(
    model: str, setting: tuple[str, str, str | None, str], data_path: Path, tmp_path: Path
) -> None:
    check(model, setting, data_path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_all_variations(model: str, setting: tuple[str, str, str | None, str], data_path: Path, tmp_path: Path) -> None:
    check(model, setting, data_path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("model", MODELS)
def test_all_losses(model: str, loss: str, number: int, data_path: Path, tmp_path: Path) -> None:
    """Every loss that a model takes with its numbers of negatives; any other is refused by the name of its key."""
    try:
        result = run(model, data_path, tmp_path, rec_loss=loss, n_negatives=number)
    except UserError as error:
        assert "rec_loss" in str(error) or "n_negatives" in str(error)
        assert (loss, number) != ("softmax", 0) or "rec_loss" in str(error)
    else:
        assert all(0 <= value <= 1 for value in result.values())


@pytest.mark.parametrize("given", [{"distribution": "popularity"}, {"sample_num": 3}, {"dynamic": True}], ids=str)
def test_negatives_that_only_recbole_draws(given: dict[str, Any], data_path: Path, tmp_path: Path) -> None:
    """Their number is ``n_negatives`` here, and a key that counts for nothing would be believed."""
    args = {"distribution": "uniform", "sample_num": 1, "dynamic": False, "candidate_num": 0, **given}
    with pytest.raises(UserError, match="train_neg_sample_args"):
        run("MF", data_path, tmp_path, train_neg_sample_args=args)


def test_no_negatives_as_recbole_says_it(data_path: Path, tmp_path: Path) -> None:
    assert run("MF", data_path, tmp_path, train_neg_sample_args=None)

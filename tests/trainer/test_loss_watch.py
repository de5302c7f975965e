"""A training that goes wrong ends at that step, says where, and keeps its state."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_painvrl import checkpoint, cli
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.general_recommender.painvrl import PaInvRL
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer.loss_watch import EXPLODED, LossWatch, broken_parameters, culprits
from recbole_painvrl.trainer.rounds import check_finite
from tests.trainer.test_run_trainer import STAGES, configuration, started


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(monkeypatch: pytest.MonkeyPatch, factor: float, call: int) -> None:
    """Multiplies the full share of the final training's loss from its ``call``-th step on."""
    whole, calls = PaInvRL.calculate_loss, 0

    def calculate_loss(model: PaInvRL, interaction: Any) -> Any:
        nonlocal calls
        losses = whole(model, interaction)
        if not isinstance(losses, tuple):
            return losses
        calls += 1
        return losses if calls <= call else (losses[0], losses[1] * factor)

    monkeypatch.setattr(PaInvRL, "calculate_loss", calculate_loss)


def failure(folder: Path) -> tuple[str, RunFolder]:
    """What training PaInvRL says when it fails, and its folder."""
    run = RunFolder(folder / "run")
    trainer, data = started(configuration("PaInvRL", folder, 4, **STAGES), run)
    trainer._worth_saving = lambda: True
    with pytest.raises(UserError) as caught:
        trainer.fit(data.train, data.valid, verbose=False)
    return str(caught.value), run


@pytest.mark.parametrize(
    ("factor", "what", "value"),
    [(math.nan, "not a number", "nan"), (math.inf, "infinite", "inf"), (1e9, "exploding", "")],
)
def test_it_says_which_part_in_which_batch_and_stores_the_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch, factor: float, what: str, value: str
) -> None:
    spoil(monkeypatch, factor, 1)
    said, run = failure(folder)
    assert said.startswith(f"the training loss is {what} in epoch 1, batch 1 (full {value}")
    for advice in ("learning_rate 0.01 may be too high", "clip_grad_norm", f"the state is in {run.failed_model}"):
        assert advice in said
    (record,) = run.records("failed")
    assert (record["epoch"], record["batch"]) == (1, 1)
    assert set(record["losses"]) == {"invariant", "full"} and math.isfinite(record["losses"]["invariant"])
    assert checkpoint.load(run.failed_model)["epoch"] == 0
    assert checkpoint.load(run.last_model)["epoch"] == 0


def test_the_model_that_is_stored_is_the_one_before_the_bad_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, math.nan, 0)
    _, run = failure(folder)
    state = checkpoint.load(run.failed_model)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_a_last_step_that_spoils_the_model_is_found_before_its_evaluation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(folder / "run")
    trainer, data = started(configuration("BPR", folder, 2), run)
    step = trainer.optimizer.step

    def spoiling(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        if trainer._watch.batch == len(data.train) - 1:
            with torch.no_grad():
                data.model.item_embedding.weight[3, 1] = math.inf

    monkeypatch.setattr(trainer.optimizer, "step", spoiling)
    with pytest.raises(UserError, match=r"a parameter is not a number in epoch 0, batch \d+ \(item_embedding.weight\)"):
        trainer.fit(data.train, data.valid, verbose=False)
    assert not run.records("valid")
    assert not run.best_model.exists()


def test_the_command_line_tells_it_in_one_line_and_it_fails_the_same_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    board = configuration("BPR", folder, 3).final_config_dict  # writes the data
    spoil(monkeypatch, math.nan, 0)
    words = ["-m", "PaInvRL", "-d", "board", f"--data_path={folder / 'data'}", "--show_progress=False", "--epochs=4"]
    words += [f"--{key}={board[key]}" for key in ("benchmark_filename", "load_col", "train_batch_size")]
    words += [f"--{key}={value}" for key, value in STAGES.items()]
    assert cli.main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: the training loss is not a number in epoch 1, batch 0 (full nan)")
    (run,) = Path("runs/board/PaInvRL").iterdir()
    records = [one["event"] for one in RunFolder(run).records()]
    assert cli.main([f"--resume={run}"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == error
    assert [one["event"] for one in RunFolder(run).records()] == records


def losses(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(value, requires_grad=True) for value in values)


def test_a_loss_explodes_when_it_is_a_million_times_the_first_one() -> None:
    for first, limit in ((0.1, EXPLODED), (40.0, 40 * EXPLODED)):
        watch = LossWatch()
        found = [watch.fault(torch.tensor(size)) for size in (first, 0.9 * limit, -0.9 * limit, 1.1 * limit)]
        assert found == [None, None, None, "exploding"]


def test_parts_are_named_where_the_names_fit() -> None:
    watch = LossWatch()
    assert watch.parts(("a",)) == {}
    watch.watched(losses)(1.0, math.nan)
    assert watch.fault(torch.tensor(math.nan)) == "not a number"
    assert culprits(watch.parts(("a", "b"))) == "b nan"
    assert culprits(watch.parts(())) == "train_loss2 nan"
    assert culprits({"a": -5.0, "b": 2.0}) == "a -5"
    assert culprits({}) == ""


def test_large_parameters_are_not_broken() -> None:
    layer = torch.nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.fill_(3e38)  # whose sum is infinite
    assert broken_parameters(layer) == []
    with torch.no_grad():
        layer.bias[1] = -math.inf
    assert broken_parameters(layer) == ["bias"]


def test_a_round_whose_risk_is_no_number_ends_too() -> None:
    check_finite("Mask", {"step": 1, "erm": 0.5, "irm": 0.0, "cosine": math.nan})
    check_finite("Identify", {"iteration": 1, "objective": None})
    with pytest.raises(UserError, match=r"Mask 0, step 3: irm is inf: .* smaller learning_rate"):
        check_finite("Mask      0", {"step": 3, "erm": 0.5, "irm": math.inf})

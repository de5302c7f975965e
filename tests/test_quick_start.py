"""RecBole's functions with run folders: signatures, return keys, folder content, continuation."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from recbole.utils.case_study import full_sort_scores, full_sort_topk

from recbole_painvrl import checkpoint, experiment
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import Interrupted
from recbole_painvrl.quick_start import (
    configure,
    load_data_and_model,
    objective_function,
    resume,
    run_recbole_painvrl,
)
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer import RunMixin
from tests.inputs import Board, write_checkerboard

RECBOLE_KEYS = {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"}
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def board(folder: Path) -> Board:
    return write_checkerboard(folder / "data")


def keys(board: Board, **more: Any) -> dict[str, Any]:
    return board.config(**{"epochs": 2, "train_batch_size": 64, "embedding_size": 8, **more})


def only_run(model: str = "BPR") -> RunFolder:
    (path,) = Path("runs/board").glob(f"{model}/*")
    return RunFolder(path)


def without_times(run: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in ("time", "cpu", "seconds")} for record in run.records()]


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.items() if not k.startswith("seconds") and k != "peak_rss_mb"}


def test_signatures_are_recboles() -> None:
    expected = ["model", "dataset", "config_file_list", "config_dict", "saved"]
    assert list(inspect.signature(run_recbole_painvrl).parameters) == expected
    assert list(inspect.signature(objective_function).parameters) == ["config_dict", "config_file_list", "saved"]
    assert list(inspect.signature(load_data_and_model).parameters) == ["model_file"]


def test_painvrl_on_ml_100k_is_the_default() -> None:
    config = configure()
    assert (config["model"], config["dataset"]) == ("PaInvRL", "ml-100k")


def test_files_and_dicts_may_name_the_model(folder: Path) -> None:
    (folder / "a.yaml").write_text("model: BPR\ndataset: ml-100k\n")
    assert configure(config_file_list=["a.yaml"])["model"] == "BPR"
    assert configure(config_file_list=["a.yaml"], config_dict={"model": "LightGCN"})["model"] == "LightGCN"
    assert configure("Pop", config_file_list=["a.yaml"])["model"] == "Pop"


def test_a_run_fills_its_folder(board: Board) -> None:
    result = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    run = only_run()
    written = {path.name for path in run.path.iterdir()}
    files = "config.yaml data.json records.jsonl result.json per_user.npz groups.csv model-best.pth model-last.pth done"
    assert written == set(files.split())
    stored = json.loads((run.path / "result.json").read_text())
    assert RECBOLE_KEYS | {"test_results"} <= set(result)
    assert stored == json.loads(json.dumps(result))
    assert stored["epochs"] == 2
    assert stored["n_parameters"] == (41 + 27) * 8
    assert set(stored["test_results"]) == {"test", "test_ood"}
    assert [one["event"] for one in run.records()][:5] == ["start", "train", "valid", "train", "valid"]


def test_the_configuration_of_a_run_makes_the_same_run(board: Board) -> None:
    first = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    stored = yaml.safe_load((only_run().path / "config.yaml").read_text())
    again = run_recbole_painvrl(config_dict={**stored, "output_dir": "again"})
    assert numbers(again) == json.loads(json.dumps(numbers(first)))


def test_values_of_users_average_to_the_results(board: Board) -> None:
    result = run_recbole_painvrl("BPR", "board", config_dict=keys(board, metric_decimal_place=12))
    with np.load(only_run().path / "per_user.npz", allow_pickle=False) as stored:
        assert set(stored["test/users"]) == {f"u{user}" for user in range(40)}
        for name in ("test", "test_ood"):
            for metric, value in result["test_results"][name].items():
                assert stored[f"{name}/{metric}"].mean() == pytest.approx(value)


def test_warm_and_cold_items_are_reported_apart(board: Board) -> None:
    lines = Path(board.folder, "board", "board.test.inter").read_text().splitlines()
    cold = "\t".join(["u0", board.cold[0], *lines[1].split("\t")[2:]])
    Path(board.folder, "board", "board.test.inter").write_text("\n".join([*lines, cold]) + "\n")
    groups = run_recbole_painvrl("BPR", "board", config_dict=keys(board))["test_groups"]["test"]
    assert (groups["warm"]["pairs"], groups["warm"]["users"]) == (40, 40)
    assert (groups["cold"]["pairs"], groups["cold"]["users"]) == (1, 1)
    assert "ndcg@20" in groups["cold"]


def test_a_finished_run_is_not_repeated(board: Board, capsys: pytest.CaptureFixture) -> None:
    first = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    again = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    assert again == json.loads(json.dumps(first))
    assert f"already done: {only_run().path}" in capsys.readouterr().out


def interrupted(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts a run of four epochs that the user stops in the third."""

    def before_epoch(trainer: RunMixin, epoch_idx: int, train_data: object) -> None:
        if epoch_idx == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunMixin, "before_epoch", before_epoch)
        patch.setattr(RunMixin, "_worth_saving", lambda trainer: True)
        with pytest.raises(Interrupted, match="interrupted; continue with --resume=runs/board/BPR/"):
            run_recbole_painvrl("BPR", "board", config_dict=keys(board, epochs=4))


def test_an_interrupted_run_continues_to_the_same_result(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(board, monkeypatch)
    run = only_run()
    with pytest.raises(UserError, match=f"continue it with --resume={run.path}"):
        run_recbole_painvrl("BPR", "board", config_dict=keys(board, epochs=4))
    result = resume(run.path)
    straight = run_recbole_painvrl("BPR", "board", config_dict=keys(board, epochs=4, output_dir="straight"))
    assert numbers(result) == numbers(straight)
    (other,) = Path("straight/board/BPR").iterdir()
    assert without_times(run) == without_times(RunFolder(other))


def test_the_interruption_names_the_folder(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(board, monkeypatch)
    run = only_run()
    assert run.started
    assert not run.finished
    assert not (run.path / "lock").exists()


def test_a_run_that_never_began_leaves_no_folder(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "prepare", lambda config: (_ for _ in ()).throw(UserError("bad data")))
    with pytest.raises(UserError, match="bad data"):
        run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    assert not list(Path("runs/board/BPR").iterdir())


def test_resuming_may_not_change_the_numbers(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(board, monkeypatch)
    with pytest.raises(UserError, match="would be changed by epochs"):
        resume(only_run().path, {"epochs": "9"})
    with open(Path(board.folder, "board", "board.train.inter"), "a") as file:
        file.write("u0\ti1\ts\ta\n")
    with pytest.raises(UserError, match="by its data files"):
        resume(only_run().path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b""),
        ("config.yaml", b"[1]"),
        ("config.yaml", b"a: [1"),
        ("config.yaml", b"a: \xff"),
        ("records.jsonl", b"garbage\n"),
        ("records.jsonl", b"{}\n"),
    ],
)
def test_a_damaged_run_is_not_continued(folder: Path, name: str, content: bytes) -> None:
    for file in ("config.yaml", "records.jsonl"):
        (folder / file).write_bytes(content if file == name else b"")
    with pytest.raises(UserError, match=f"{name}: .* delete the run's folder and run again$"):
        resume(folder)


def test_resuming_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="no run to continue"):
        resume(folder / "none")


def test_an_unsaved_run_is_recorded_without_models(board: Board) -> None:
    run_recbole_painvrl("BPR", "board", config_dict=keys(board), saved=False)
    assert not list(only_run().path.glob("*.pth"))
    assert only_run().finished
    with pytest.raises(UserError, match="no model is stored here"):
        load_data_and_model(only_run().path)


def test_the_objective_has_recboles_keys(board: Board) -> None:
    result = objective_function(keys(board, model="BPR", dataset="board"), saved=False)
    assert {"model", *RECBOLE_KEYS} <= set(result)
    assert result["model"] == "BPR"


@pytest.mark.parametrize("by", ["folder", "file"])
def test_a_stored_model_scores_as_it_did(board: Board, by: str) -> None:
    result = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    path = only_run().path if by == "folder" else only_run().best_model
    config, model, dataset, _, _, test_data = load_data_and_model(path)
    trainer = experiment.get_trainer(config)(config, model)
    assert dict(trainer.evaluate(test_data, load_best_model=False)) == result["test_result"]
    assert dataset.field2token_id["user_id"]["u0"] > 0


def test_recboles_case_study_works_on_it(board: Board) -> None:
    run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    _, model, dataset, _, _, test_data = load_data_and_model(only_run().path)
    users = dataset.token2id("user_id", ["u0", "u3"])
    scores = full_sort_scores(users, model, test_data)
    values, items = full_sort_topk(users, model, test_data, k=3)
    assert scores.shape == (2, dataset.item_num)
    assert torch.equal(values, scores.gather(1, items))


def test_a_changed_data_set_is_told(board: Board) -> None:
    run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    with open(Path(board.folder, "board", "board.train.inter"), "a") as file:
        file.write("new-user\ti1\ts\ta\n")
    with pytest.raises(
        UserError, match=r"model-best\.pth: the data have changed since .*: the users of .*; put the files"
    ):
        load_data_and_model(only_run().path)
    without_tokens(only_run().best_model)
    with pytest.raises(UserError, match="is the data set still the same"):
        load_data_and_model(only_run().path)


def turn_rows(board: Board) -> None:
    """Turns the training file upside down: RecBole numbers users and items as they come."""
    file = Path(board.folder, "board", "board.train.inter")
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *reversed(rows), ""]))


def without_tokens(file: Path) -> None:
    """Leaves what a checkpoint had before it held digests of its tokens."""
    checkpoint.save(file, {key: value for key, value in checkpoint.load(file).items() if key != "tokens"})


def test_rows_in_another_order_are_told(board: Board) -> None:
    run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    turn_rows(board)
    with pytest.raises(UserError, match=r"the users and items of .*board are others or in another order"):
        load_data_and_model(only_run().path)
    without_tokens(only_run().best_model)
    assert load_data_and_model(only_run().path)[2].item_num == 27  # as ever, of a model without digests


def test_a_run_continues_on_its_own_users_and_items_only(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(board, monkeypatch)
    (only_run().path / "data.json").unlink()  # which would tell the change first
    turn_rows(board)
    with pytest.raises(UserError, match=r"model-last\.pth: the data have changed since this model was trained"):
        resume(only_run().path)
    turn_rows(board)
    assert resume(only_run().path)["epochs"] == 4


def test_a_model_loads_in_a_fresh_process(board: Board) -> None:
    result = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    code = (
        "import sys, json\n"
        "from recbole_painvrl.quick_start import load_data_and_model\n"
        "from recbole_painvrl.utils import get_trainer\n"
        "config, model, _, _, _, test = load_data_and_model(sys.argv[1])\n"
        "print(json.dumps(get_trainer(config)(config, model).evaluate(test, load_best_model=False)))\n"
    )
    path = str(only_run().path.resolve())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, env=environment, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == result["test_result"]

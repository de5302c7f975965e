"""The same tuning budget for every model of a comparison, and the spaces that the package brings."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_painvrl import cli
from recbole_painvrl import config as configuration
from recbole_painvrl.comparison.record import read
from recbole_painvrl.config_keys import general_keys, properties_folder, read_yaml
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import configure
from recbole_painvrl.report.cells import find
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.tuning import equal, record
from recbole_painvrl.tuning.grammar import check_keys, read_space
from recbole_painvrl.tuning.plan import FIXED_KEYS
from recbole_painvrl.tuning.proposals import Random
from recbole_painvrl.tuning.space import Uniform
from tests.comparison.conftest import Flags
from tests.comparison.test_compare import the_comparison

FOLDER = properties_folder()
MODELS = [path.stem for path in sorted((FOLDER / "model").glob("*.yaml"))]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_ours_has_a_space_of_valid_values(model: str) -> None:
    space, text = read_space(FOLDER / "search" / f"{model}.hyper")
    config = configure(model, "ml-100k")
    check_keys(space, text, model, set(config.internal_config_dict) | general_keys(), FIXED_KEYS)
    assert {one.name for one in space} <= set(read_yaml(FOLDER / "model" / f"{model}.yaml"))
    ends = {
        one.name: [one.value(one.low), one.value(one.high)] if isinstance(one, Uniform) else one.grid() for one in space
    }
    for index in range(max(map(len, ends.values()))):
        values = {name: grid[min(index, len(grid) - 1)] for name, grid in ends.items()}
        found = configure(model, "ml-100k", config_dict=values)
        assert {name: found[name] for name in values} == values


def test_the_shipped_file_is_painvrl_s_space() -> None:
    file = Path(equal.__file__).parents[2] / "hyper.test"
    if not file.is_file():
        pytest.skip("not a checkout")
    assert read_space(file)[0] == read_space(FOLDER / "search" / "PaInvRL.hyper")[0]


@pytest.mark.parametrize("parallel", [1, 2])
def test_each_model_is_tuned_then_run_with_what_was_found(
    flags: Flags, capsys: pytest.CaptureFixture, parallel: int
) -> None:
    words = ["-m", "MF,VBPR", "-d", "board", "--seeds=1,2", *flags(epochs=1), f"--parallel={parallel}", "--tune=3"]
    assert cli.main(words) == 0
    comparison = the_comparison()
    assert [(row["dataset"], row["model"], row["trials"]) for row in comparison.tuned] == [
        ("board", "MF", 3),
        ("board", "VBPR", 3),
    ]
    for row in comparison.tuned:
        search = record.read(row["search"])
        best = max(search.trials, key=lambda trial: trial.score)
        assert (row["number"], row["score"], row["parameters"]) == (best.number, best.score, best.parameters)
        assert "embedding_size" not in row["parameters"]  # the command names it
        for cell in comparison.cells:
            config = yaml.safe_load((comparison.run_folder(cell) / "config.yaml").read_text())
            if cell.model == row["model"]:
                assert {key: config[key] for key in row["parameters"]} == row["parameters"]
    assert [cell.state for cell in comparison.cells] == ["done"] * 4
    capsys.readouterr()
    assert cli.main([f"--resume={comparison.path}"]) == 0
    assert "4 of 4 runs were done before" in capsys.readouterr().err
    assert read(comparison.path) == comparison


@pytest.fixture
def two_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Spaces of MF and ERM in which the second trial has the better step."""
    (tmp_path / "search").mkdir()
    for model in ("MF", "ERM"):
        (tmp_path / "search" / f"{model}.hyper").write_text("learning_rate choice [0.05, 0.00001]")
    monkeypatch.setattr(equal, "properties_folder", lambda: tmp_path)
    proposals = [{"learning_rate": rate} for rate in (0.00001, 0.05)]
    monkeypatch.setattr(Random, "propose", lambda proposer, number, attempt, finished: proposals[number])


@pytest.mark.usefixtures("two_trials")
def test_a_model_that_was_tuned_with_more_trials_has_no_more_than_the_others(flags: Flags) -> None:
    words = ["-d", "board", "--seeds=1", *flags(epochs=4), "--parallel=1"]
    assert cli.main(["-m", "ERM", *words, "--tune=2"]) == 0
    (tuned,) = the_comparison().tuned
    assert (tuned["trials"], tuned["number"]) == (2, 1)
    assert cli.main(["-m", "ERM,MF", *words, "--tune=1"]) == 0
    (both,) = [one for one in map(read, Path("runs/comparisons").iterdir()) if len(one.cells) == 2]
    assert [(row["model"], row["trials"], row["number"]) for row in both.tuned] == [("ERM", 1, 0), ("MF", 1, 0)]
    assert len(record.read(tuned["search"]).trials) == 2


@pytest.mark.usefixtures("two_trials")
def test_what_an_earlier_search_chose_is_no_head_start(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "tuned.yaml"
    file.write_text("init_std: 0.5\nlearning_rate: 0.5\n")
    for module in (configuration, equal):
        monkeypatch.setattr(module, "tuned_file", lambda model, dataset: file if model == "ERM" else Path("none"))
    words = ["-m", "ERM,MF", "-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1"]
    assert cli.main([*words, "--tune=2"]) == 0
    comparison = the_comparison()
    settings = [read_yaml(comparison.run_folder(cell) / "config.yaml") for cell in comparison.cells]
    assert [(one["init_std"], one["tuned_defaults"]) for one in settings] == [(0.03, False), (0.03, True)]
    assert [row["parameters"] for row in comparison.tuned] == [
        {"learning_rate": 0.05, "tuned_defaults": False},
        {"learning_rate": 0.05},
    ]
    trial = Path(comparison.tuned[0]["search"], "trials", "0", "trial.yaml")
    assert read_yaml(trial)["init_std"] == 0.03
    assert configure("ERM", "board", command_line={"data_path": "data"})["init_std"] == 0.5
    asked = configure("ERM", "board", command_line={"data_path": "data", "tuned_defaults": "False"})
    assert (asked["init_std"], asked["learning_rate"]) == (0.03, 0.01)
    assert cli.main([*words, "--tune=2", "--tuned_defaults=True"]) == 0
    (kept,) = [one for one in map(read, Path("runs/comparisons").iterdir()) if one.path.name != comparison.path.name]
    assert [row["parameters"] for row in kept.tuned] == [{"learning_rate": 0.05}] * 2
    assert read_yaml(kept.run_folder(kept.cells[0]) / "config.yaml")["init_std"] == 0.5


@pytest.mark.usefixtures("two_trials")
def test_a_tuned_comparison_is_continued_with_what_was_found(flags: Flags, capsys: pytest.CaptureFixture) -> None:
    words = ["-m", "MF", "-d", "board", "--seeds=1", *flags(epochs=4), "--parallel=1"]
    assert cli.main([*words, "--tune=1"]) == 0
    comparison = the_comparison()
    assert cli.main([*words, "--tune=2"]) == 0
    capsys.readouterr()
    assert cli.main([f"--resume={comparison.path}"]) == 0
    said = capsys.readouterr().err
    assert "1 of 1 runs were done before" in said
    assert said.splitlines()[-1] == f"comparison: {comparison.path}"
    assert read(comparison.path) == comparison


@pytest.mark.usefixtures("two_trials")
def test_a_model_named_twice_is_tuned_once(flags: Flags) -> None:
    words = ["-m", "MF,MF", "-d", "board,board", "--seeds=1", *flags(epochs=1), "--parallel=1", "--tune=1"]
    assert cli.main(words) == 0
    comparison = the_comparison()
    assert [row["model"] for row in comparison.tuned] == ["MF"]
    comparison.command = {**comparison.command, "models": ["MF", "MF"]}
    comparison.write()
    assert cli.main([f"--resume={comparison.path}"]) == 0


@pytest.mark.usefixtures("two_trials")
def test_a_search_of_another_process_is_waited_for(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = ["-m", "MF", "-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1"]
    assert cli.main([*words, "--tune=1"]) == 0
    (tuned,) = the_comparison().tuned
    other = RunFolder(tuned["search"])
    other.claim()
    ends = iter([other.release])  # at the first wait, however long it takes to come there
    monkeypatch.setattr("time.sleep", lambda seconds: next(ends, int)())
    capsys.readouterr()
    assert cli.main([*words, "--tune=2"]) == 0
    said = capsys.readouterr().err
    assert said.count(f"{tuned['search']}: process {os.getpid()} on {socket.gethostname()} works on it; waiting") == 1
    assert len(record.read(tuned["search"]).trials) == 2


@pytest.mark.usefixtures("two_trials")
@pytest.mark.parametrize("rows", [None, [3], [{}], [{"model": "MF"}]])
def test_damaged_rows_of_tuning_are_told(flags: Flags, capsys: pytest.CaptureFixture, rows: Any) -> None:
    words = ["-m", "MF", "-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1", "--tune=1"]
    assert cli.main(words) == 0
    comparison = the_comparison()
    comparison.tuned = rows
    comparison.write()
    capsys.readouterr()
    assert cli.main([f"--resume={comparison.path}"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {comparison.path}/comparison.json")


def test_what_cannot_be_tuned_is_told(flags: Flags, capsys: pytest.CaptureFixture) -> None:
    for words, complaint in (
        (["-m", "MF,NGCF", "--tune=2"], "--tune: there is no search space for NGCF, but for BM3, BPR, ERM"),
        (
            ["-m", "MF", "--learning_rate=1", "--reg_weight=1", "--temperature=1", "--init_std=1", "--tune=2"],
            "--tune: every key of MF.hyper is given on the command line or in a configuration file, so nothing of MF",
        ),
        (["-m", "MF", "--tune=0"], "--tune: expected a number of trials from 1"),
        (["-m", "MF", "--tune=2", "--params_file=x"], "no --params_file: each model has its own space"),
    ):
        assert cli.main([*words, "-d", "board", *flags()]) == 2
        assert complaint in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_model_whose_trials_all_fail_leaves_the_others_alone(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "MF.hyper").write_text("learning_rate choice [0, -1]")
    (tmp_path / "search" / "ERM.hyper").write_text("learning_rate choice [0.05, 0.001]")
    monkeypatch.setattr(equal, "properties_folder", lambda: tmp_path)
    words = ["-m", "MF,ERM", "-d", "board", "--seeds=1,2", *flags(epochs=1), "--parallel=1"]
    assert cli.main(words) == 0  # runs of the defaults, which are none of the tuned comparison
    capsys.readouterr()
    assert cli.main([*words, "--tune=2"]) == 1
    said = capsys.readouterr()
    reason = "failed: all trials failed, the first one by: learning_rate"
    assert [line for line in said.out.splitlines() if line.startswith(f"board  MF  seed 1  {reason}")]
    assert "2 of 4 runs failed:\n  board MF 1: all trials failed" in said.err
    (comparison,) = [one for one in map(read, Path("runs/comparisons").iterdir()) if one.tuned]
    assert [(cell.model, cell.state) for cell in comparison.cells] == [
        *[("MF", "failed")] * 2,
        *[("ERM", "done")] * 2,
    ]
    assert [(row["model"], row["score"] is None, row["error"] is None) for row in comparison.tuned] == [
        ("MF", True, False),
        ("ERM", False, True),
    ]
    found = find([comparison.path])
    assert ([run.result["model"] for run in found.runs], found.failures[0].seeds) == (["ERM", "ERM"], (1, 2))
    assert cli.main([f"--resume={comparison.path}"]) == 1
    assert read(comparison.path) == comparison


@pytest.mark.usefixtures("two_trials")
def test_failed_trials_are_tried_again_by_the_same_command(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = ["-m", "MF", "-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1", "--tune=1"]
    with monkeypatch.context() as patch:
        patch.setattr("recbole_painvrl.comparison.worker.validate", _full_disk)
        assert cli.main(words) == 1
    assert "board MF 1: all trials failed, the first one by: the disk is full" in capsys.readouterr().err
    (failed,) = map(read, Path("runs/comparisons").iterdir())
    assert cli.main(words) == 0
    (tuned,) = [one for one in map(read, Path("runs/comparisons").iterdir()) if one.path != failed.path]
    assert [cell.state for cell in tuned.cells] == ["done"]
    assert tuned.tuned[0]["search"] == failed.tuned[0]["search"]


def _full_disk(*_: Any) -> None:
    raise UserError("the disk is full")

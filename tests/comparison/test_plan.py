"""All runs of a command, and all its mistakes, are known before anything trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recbole_painvrl.comparison.plan import Command, plan
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import run_folder
from recbole_painvrl.quick_start import configure

Keys = Callable[..., dict[str, str]]


def test_every_model_on_every_data_set_with_every_seed(keys: Keys) -> None:
    record, tasks = plan(Command(("BPR", "Pop"), ("board", "broken"), (2, 1), (), keys()))
    names = [f"{data} {model} {seed}" for data in ("board", "broken") for model in ("BPR", "Pop") for seed in (2, 1)]
    assert [cell.name for cell in record.cells] == names
    assert [task.cell for task in tasks] == record.cells
    assert {cell.state for cell in record.cells} == {"waiting"}
    assert not Path("runs").exists()


def test_a_run_has_the_folder_that_it_has_on_its_own(keys: Keys) -> None:
    record, (task,) = plan(Command(("BPR",), ("board",), (7,), (), keys()))
    assert task.folder == run_folder(configure("BPR", "board", command_line=keys(seed=7)))
    assert run_folder(configure(config_dict=task.settings)) == task.folder
    assert record.run_folder(task.cell) == task.folder.resolve()


def test_the_same_run_twice_is_one(keys: Keys) -> None:
    command = Command(("BPR", "BPR"), ("board", "board"), (1, 1), (), keys())
    assert command == Command(("BPR",), ("board",), (1,), (), keys())
    _, tasks = plan(command)
    assert len(tasks) == 1


def test_files_name_what_the_command_line_does_not(keys: Keys) -> None:
    Path("a.yaml").write_text("model: Pop\ndataset: board\nseed: 5\n")
    _, (task,) = plan(Command((None,), (None,), (None,), ("a.yaml",), keys()))
    assert task.cell.name == "board Pop 5"


def test_a_file_that_changes_later_changes_nothing(keys: Keys) -> None:
    Path("a.yaml").write_text("learning_rate: 0.5\n")
    _, (task,) = plan(Command(("BPR",), ("board",), (1,), ("a.yaml",), keys()))
    Path("a.yaml").write_text("learning_rate: 0.1\n")
    assert configure(config_dict=task.settings)["learning_rate"] == 0.5


def test_all_mistakes_are_named_together(keys: Keys) -> None:
    command = Command(("BPR", "LightGNC"), ("board", "bord"), (1, 2), (), keys())
    with pytest.raises(UserError) as caught:
        plan(command)
    text = str(caught.value)
    assert "there is no model 'LightGNC'. Did you mean 'LightGCN'?" in text
    assert "there is no data set 'bord'" in text
    assert text.count("'bord'") == 1
    with pytest.raises(UserError, match="Did you mean 'learning_rate'"):
        plan(replace(command, models=("BPR",), datasets=("board",), keys=keys(learing_rate=1)))


def test_a_warning_comes_once(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    plan(Command(("Pop",), ("board", "broken"), (1, 2, 3), (), keys()))
    assert [one.getMessage() for one in caplog.records] == ["Pop does not read embedding_size: keys of other models"]


def test_the_command_survives_its_record(keys: Keys) -> None:
    command = Command(("BPR", None), ("board",), (None,), ("a.yaml",), {"epochs": "1"})
    stored = {"models": ["BPR", None], "datasets": ["board"], "seeds": [None], "config_files": ["a.yaml"]}
    assert Command.recorded({**stored, "keys": {"epochs": "1"}}) == command

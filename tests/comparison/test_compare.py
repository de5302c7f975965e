"""The command from its words to its table: missing runs, failures, continuation, side by side or not."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl import cli
from recbole_painvrl.comparison import worker
from recbole_painvrl.comparison.record import Record, read
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer import RunMixin
from tests.comparison.conftest import Flags


def the_comparison(output_dir: str = "runs") -> Record:
    (path,) = Path(output_dir, "comparisons").iterdir()
    return read(path)


def content(run: Path) -> dict[str, Any]:
    """What a run leaves but for times and memory: results, values of users, parameters."""
    result = {
        key: value for key, value in RunFolder(run).read_json("result.json").items() if not key.startswith("seconds")
    }
    result.pop("peak_rss_mb")
    with np.load(run / "per_user.npz", allow_pickle=False) as stored:
        users = {name: stored[name].tolist() for name in stored.files}
    model = torch.load(run / "model-best.pth", weights_only=True)["state_dict"]
    return {"result": result, "users": users, "model": {name: value.tolist() for name, value in model.items()}}


def runs(output_dir: str) -> dict[str, dict[str, Any]]:
    """The content of all runs by name."""
    folders = Path(output_dir, "board").glob("*/*")
    return {f"{run.parent.name}/{run.name}": content(run) for run in folders}


def test_side_by_side_is_one_after_the_other_bit_for_bit(flags: Flags, capfd: pytest.CaptureFixture) -> None:
    command = ["-m", "BPR,ERM", "-d", "board", "--seeds=1,2", *flags()]
    assert cli.main([*command, "--parallel=1", "--output_dir=single"]) == 0
    single = capfd.readouterr().out
    assert cli.main([*command, "--parallel=2", "--output_dir=double"]) == 0
    captured = capfd.readouterr()
    assert captured.out == single
    assert "4 of 4 done" in captured.err
    assert "epoch 0 training" not in captured.err
    assert len(runs("single")) == 4
    assert runs("double") == runs("single")
    record = the_comparison("double")
    for cell in record.cells:
        assert cell.state == "done"
        assert "epoch 0 training" in (record.run_folder(cell) / worker.LOG).read_text()


def test_runs_side_by_side_may_load_in_processes(flags: Flags) -> None:
    words = ["-m", "BPR", "-d", "board", "--seeds=1,2", *flags(epochs=1)]
    assert cli.main([*words, "--worker=1", "--parallel=2", "--output_dir=loaded"]) == 0
    assert cli.main([*words, "--worker=1", "--parallel=1"]) == 0
    assert runs("loaded") == runs("runs")


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_failing_run_leaves_the_others_and_a_status(
    flags: Flags, capfd: pytest.CaptureFixture, parallel: int
) -> None:
    words = ["-m", "BPR,Pop", "-d", "board,broken", "--seeds=1", *flags(epochs=1), f"--parallel={parallel}"]
    assert cli.main(words) == 1
    captured = capfd.readouterr()
    assert [cell.state for cell in the_comparison().cells] == ["done", "done", "failed", "failed"]
    rows = [line.split()[:2] for line in captured.out.splitlines()]
    assert rows == [["dataset", "model"], ["board", "BPR"], ["board", "Pop"], ["broken", "BPR"], ["broken", "Pop"]]
    assert "broken  BPR  seed 1  failed: " in captured.out
    assert "2 of 4 runs failed:\n  broken BPR 1: " in captured.err
    assert "broken.valid.inter" in the_comparison().cells[2].error
    log = the_comparison().run_folder(the_comparison().cells[2]) / worker.LOG
    assert log.is_file() == (parallel == 2)
    assert not (log.parent / "lock").exists()


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_path_in_the_way_of_a_run_leaves_the_others(
    flags: Flags, capfd: pytest.CaptureFixture, parallel: int
) -> None:
    Path("runs/board").mkdir(parents=True)
    Path("runs/board/BPR").write_text("")
    assert cli.main(["-m", "BPR,Pop", "-d", "board", *flags(epochs=1), f"--parallel={parallel}"]) == 1
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    assert [cell.state for cell in the_comparison().cells] == ["failed", "done"]
    assert the_comparison().cells[0].error.startswith("output_dir: cannot write to runs/board/BPR/")
    assert captured.out.splitlines()[1].split()[:2] == ["board", "Pop"]


def test_a_run_s_folder_that_cannot_be_looked_into_leaves_the_others(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = ["-m", "BPR,Pop", "-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1"]
    assert cli.main(words) == 0
    closed = the_comparison().run_folder(the_comparison().cells[0])
    for name in ("stat", "open"):
        deny(monkeypatch, name, closed)
    assert cli.main(words) == 1
    assert "Permission denied" in capsys.readouterr().out
    assert [cell.state for cell in the_comparison().cells] == ["failed", "done"]


def deny(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    """Makes a function of ``os`` fail in and at a folder, as it does for who is not its owner (but not for root)."""
    function = getattr(os, name)

    def denied(path: Any, *arguments: Any, **keys: Any) -> Any:
        if not isinstance(path, int) and folder.name in Path(path).parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return function(path, *arguments, **keys)

    monkeypatch.setattr(os, name, denied)


def test_an_unexpected_failure_keeps_its_traceback(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(worker, "execute", lambda *args, **kwargs: 1 / 0)
    assert cli.main(["-m", "BPR,Pop", "-d", "board", *flags(), "--parallel=1"]) == 1
    assert the_comparison().cells[0].error == "ZeroDivisionError: division by zero"
    assert capsys.readouterr().err.count("Traceback") == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-m", "BPR,Nothing"], "there is no model 'Nothing'"),
        (["-m", "BPR,Pop", "--learing_rate=1"], "Did you mean 'learning_rate'"),
        (["-m", "BPR,Pop", "--config_files=none.yaml"], "none.yaml"),
        (["-m", "BPR,Pop", "--parallel=0"], "--parallel: expected a number of at least 1, or ray, but got '0'"),
        (["-m", "BPR,Pop", "--parallel=two"], "but got 'two'"),
        (["-m", "BPR,Pop", "--parallel=2", "--address=auto"], "--address is for a Ray cluster"),
        (["-m", "BPR,Pop", "--output_dir=a.file/runs"], "output_dir: cannot write to"),
    ],
)
def test_a_mistake_ends_it_before_anything_runs(
    flags: Flags, capsys: pytest.CaptureFixture, words: list[str], complaint: str
) -> None:
    Path("a.file").write_text("")
    assert cli.main([*words, "-d", "board", *flags()]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert complaint in last
    assert not Path("runs").exists()


def test_only_missing_runs_are_made(flags: Flags, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["-m", "BPR", "-d", "board", "--seeds=1", *flags()]) == 0
    words = ["-m", "BPR,Pop", "-d", "board", "--seeds=1", *flags()]
    assert cli.main([*words, "--parallel=1"]) == 0
    captured = capsys.readouterr()
    assert "1 of 2 runs were done before" in captured.err
    assert "board BPR 1: done" not in captured.err
    assert cli.main(words) == 0
    assert capsys.readouterr().out == captured.out


def test_one_run_with_parallel_is_a_comparison_too(flags: Flags) -> None:
    assert cli.main(["-m", "BPR", "-d", "board", *flags(), "--parallel=1"]) == 0
    assert [cell.name for cell in the_comparison().cells] == ["board BPR 2020"]


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Sends this process a signal in the third epoch of whatever it trains."""

    def before_epoch(trainer: RunMixin, epoch_idx: int, train_data: object) -> None:
        if epoch_idx == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(RunMixin, "before_epoch", before_epoch)
    monkeypatch.setattr(RunMixin, "_worth_saving", lambda trainer: True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order_and_it_is_continued(
    flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, number: int, status: int
) -> None:
    words = ["-m", "BPR", "-d", "board", "--seeds=1,2", *flags(epochs=4), "--parallel=1"]
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, number)
        assert cli.main(words) == status
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    record = the_comparison()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"interrupted (0 of 2 done); continue with --resume={record.path}"
    assert [cell.state for cell in record.cells] == ["interrupted", "waiting"]
    assert cli.main([f"--resume={record.path}", "--parallel=1"]) == 0
    assert cli.main([*words, "--output_dir=straight"]) == 0
    assert runs("runs") == runs("straight")
    assert {len(run.records("start")) for run in map(RunFolder, Path("runs/board/BPR").iterdir())} == {1}


def test_a_comparison_is_continued_as_it_was(flags: Flags, capsys: pytest.CaptureFixture) -> None:
    Path("a.yaml").write_text("learning_rate: 0.01\n")
    assert cli.main(["-m", "Pop", "-d", "board", "--seeds=1,2", "--config_files=a.yaml", *flags(), "--parallel=1"]) == 0
    path = the_comparison().path
    assert cli.main([f"--resume={path}"]) == 0
    assert cli.main([f"--resume={path}", "--show_progress=True"]) == 0
    capsys.readouterr()
    for words, complaint in (
        (["--epochs=9"], "the runs would be others by epochs"),
        (["--model=BPR"], "leave out --model"),
        ([], "by its configuration files or data"),
    ):
        if not words:
            Path("a.yaml").write_text("learning_rate: 0.02\n")
        assert cli.main([f"--resume={path}", *words]) == 2
        assert complaint in capsys.readouterr().err
    assert len(list(Path("runs/comparisons").iterdir())) == 1


def test_a_worker_that_is_killed_is_a_failure(flags: Flags, capfd: pytest.CaptureFixture) -> None:
    """The first run that trains is killed; the other one is done, and the next call finishes the first."""
    words = ["-m", "BPR", "-d", "board", "--seeds=1,2", *flags(epochs=60, stopping_step=60)]
    killer = threading.Thread(target=kill_first_worker)
    killer.start()
    assert cli.main([*words, "--parallel=2"]) == 1
    killer.join()
    states = {cell.state: cell.error for cell in the_comparison().cells}
    assert set(states) == {"done", "failed"}
    assert states["failed"].startswith("its process was ended by SIGKILL; is there enough memory")
    assert cli.main([*words, "--parallel=1"]) == 0


def kill_first_worker() -> None:
    """Kills the first process that holds a run and has trained an epoch."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for lock in Path("runs/board/BPR").glob("*/lock"):
            if RunFolder(lock.parent).records("train"):
                os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
                return
        time.sleep(0.005)


@pytest.mark.parametrize("content", ["{}", "3", '{"seconds_train": null}', "["])
def test_a_damaged_result_leaves_the_others(flags: Flags, capsys: pytest.CaptureFixture, content: str) -> None:
    words = ["-m", "BPR,Pop", "-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1"]
    assert cli.main(words) == 0
    record = the_comparison()
    file = record.run_folder(record.cells[0]) / "result.json"
    file.write_text(content)
    capsys.readouterr()
    assert cli.main([f"--resume={record.path}"]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split()[:2] == ["board", "Pop"]
    assert f"{Path(*file.parts[-5:])}: " in captured.err
    assert "Traceback" not in captured.err
    assert [cell.state for cell in the_comparison().cells] == ["failed", "done"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"models": None}, "expected models: a list of str or None, found None"),
        ({"datasets": []}, "expected models, datasets and seeds, found a list without any"),
        ({"seeds": ["a"]}, "expected seeds: a list of int or None, found ['a']"),
        ({"keys": None}, "expected keys: a mapping to str, found None"),
        ({"tune": 2}, "expected 1 rows under tuned, found 0"),
        (None, "expected keys and values, found None"),
    ],
)
def test_a_damaged_command_is_told(
    flags: Flags, capsys: pytest.CaptureFixture, change: dict[str, Any] | None, complaint: str
) -> None:
    assert cli.main(["-m", "Pop", "-d", "board", "--seeds=1", *flags(), "--parallel=1"]) == 0
    record = the_comparison()
    record.command = change and {**record.command, **change}
    record.write()
    capsys.readouterr()
    assert cli.main([f"--resume={record.path}"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {record.path}/comparison.json: {complaint}")


def test_a_damaged_comparison_is_told(capsys: pytest.CaptureFixture) -> None:
    Path("x").mkdir()
    Path("x/comparison.json").write_text(json.dumps({"cells": []}))
    assert cli.main(["--resume=x"]) == 2
    assert "expected the folder of a comparison" in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot be read"):
        read("nowhere")

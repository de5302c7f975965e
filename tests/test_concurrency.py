"""Several processes at one place: nothing lost, nothing mixed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import cli
from recbole_painvrl.convert import write as writing
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.lock import Busy, Lock
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import find_runs, run_folders
from tests.convert.inputs import contents
from tests.endings import SECONDS, content, started
from tests.inputs import write_checkerboard
from tests.report.made_runs import make_run

ROUNDS = {"warmup_epochs": 1, "n_rounds": 1, "n_environments": 2, "env_max_iter": 2, "mask_steps": 3}
SIZES = {"train_batch_size": 128, "embedding_size": 8, "feature_size": 4, "epochs": 3}


def statuses(works: list[Callable[[], Any]], folder: Path) -> list[int]:
    """Does all of them at once, each in a process of its own; returns their statuses."""
    processes = [started(work, folder / f"output-{number}") for number, work in enumerate(works)]
    for process in processes:
        process.join(SECONDS)
    return [process.exitcode for process in processes]


def barrier(parties: int) -> Any:
    return multiprocessing.get_context("fork").Barrier(parties)


# runs


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line but for the seed and ``output_dir``."""
    board = write_checkerboard(tmp_path_factory.mktemp("data"))
    keys = board.config(**ROUNDS, **SIZES, use_gpu=False)
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in keys.items()}
    return ["-m", "PaInvRL", "-d", "board", *(f"--{key}={value}" for key, value in values.items())]


def run(words: list[str], seed: int, folder: Path) -> Callable[[], int]:
    return lambda: cli.main([*words, f"--seed={seed}", f"--output_dir={folder}"])


def runs_at_once(words: list[str], folder: Path, number: int) -> None:
    """Starts a run of each seed and twice the first one; each is what it is alone, with a log of its own."""
    begin = barrier(number + 1)
    seeds = [1, *range(1, number + 1)]

    def work(seed: int) -> Callable[[], int]:
        return lambda: (begin.wait(), run(words, seed, folder / "runs")())[1]

    ended = statuses([work(seed) for seed in seeds], folder)
    assert ended[2:] == [0] * (number - 1)
    assert sorted(ended[:2]) in ([0, 0], [0, 2])  # the same run twice: done before, or the folder is in use
    found = {int(path.name.split("-")[0]): path for path in (folder / "runs" / "board" / "PaInvRL").iterdir()}
    assert sorted(found) == list(range(1, number + 1))
    for seed in (1, number):
        assert statuses([run(words, seed, folder / f"alone-{seed}")], folder) == [0]
        (alone,) = (folder / f"alone-{seed}" / "board" / "PaInvRL").iterdir()
        assert content(found[seed]) == content(alone)
    logs = [file for file in (folder / "runs" / "log" / "PaInvRL").iterdir() if "epoch 2 training" in file.read_text()]
    assert len(logs) == number
    assert all(file.read_text().count("epoch 2 training") == 1 for file in logs)
    assert not list(folder.rglob("*.part")) and not list(folder.rglob("lock"))


def test_three_runs_at_once_are_what_they_are_alone(words: list[str], tmp_path: Path) -> None:
    runs_at_once(words, tmp_path, 3)


@pytest.mark.slow
def test_eight_runs_at_once_are_what_they_are_alone(words: list[str], tmp_path: Path) -> None:
    runs_at_once(words, tmp_path, 8)


def test_one_of_many_takes_over_a_dead_owners_lock(tmp_path: Path) -> None:
    parties, rounds = 8, 40
    begin, tried = barrier(parties), barrier(parties)
    won = multiprocessing.get_context("fork").Value("i", 0)

    def work() -> int:
        for number in range(rounds):
            lock = Lock(tmp_path / str(number) / "lock")
            begin.wait()
            try:
                lock.acquire()
                with won.get_lock():
                    won.value += 1
            except Busy:
                pass
            tried.wait()
            lock.release()
        return 0

    dead = started(lambda: 0, tmp_path / "dead")
    dead.join(SECONDS)
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "lock").write_text(f"{dead.pid} {os.uname().nodename}\n")
    assert statuses([work] * parties, tmp_path) == [0] * parties
    assert won.value == rounds
    assert not list(tmp_path.rglob("lock"))


# a report while runs write


def test_a_report_finds_whole_runs_while_others_are_written(tmp_path: Path) -> None:
    """Runs come, folders go, records grow: what is found is finished and complete."""
    make_run(tmp_path / "runs", seed=1000)
    stop = multiprocessing.get_context("fork").Event()

    def write(first: int) -> Callable[[], int]:
        def work() -> int:
            for seed in range(first, first + 15):
                path = make_run(tmp_path / "runs", seed=seed, finished=False)
                folder = RunFolder(path)
                folder.write_json("result.json", {**RunFolder(made()).read_json("result.json"), "seed": seed})
                folder.finish()
                if seed % 2:
                    shutil.rmtree(make_run(tmp_path / "runs", seed=first + 500, rounds=0, finished=False))
            stop.set()
            return 0

        return work

    def made() -> Path:
        return next((tmp_path / "runs" / "made" / "PaInvRL").glob("1000*"))

    writers = [started(write(first), tmp_path / f"output-{first}") for first in (1, 101, 201)]
    looks = 0
    while not stop.is_set() or looks < 5:
        finished, _ = find_runs([tmp_path / "runs"])
        assert all(one.seed and one.records("start") and one.config["seed"] == one.seed for one in finished)
        looks += 1
    for process in writers:
        process.join(SECONDS)
    assert [process.exitcode for process in writers] == [0, 0, 0]
    finished, waiting = find_runs([tmp_path / "runs"])
    assert sorted(one.seed for one in finished) == sorted([1000, *range(1, 16), *range(101, 116), *range(201, 216)])
    assert waiting == []


def test_folders_that_go_meanwhile_are_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, seed=1)
    gone = tmp_path / "made" / "PaInvRL" / "2"
    gone.mkdir()
    scandir = os.scandir

    def going(path: Any = ".") -> Any:
        if gone.is_dir() and Path(os.fspath(path)).name == "2":
            gone.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", going)
    assert [path.name for path in run_folders(tmp_path)] == ["1"]


# one name for several data sets


def conversions(folder: Path, number: int, overwrite: bool) -> list[int]:
    """Writes data sets of one name at once, each of two files that say whose they are; all publish together."""
    ready = barrier(number)
    publish = writing._publish

    def meet(*args: Any) -> None:
        ready.wait()
        publish(*args)

    def work(who: int) -> Callable[[], int]:
        def convert() -> int:
            writing._publish = meet
            try:
                with writing.new_folder(folder / "tiny", overwrite) as part:
                    for name in ("tiny.inter", "tiny.yaml"):
                        (part / name).write_text(str(who))
            except UserError as error:
                assert "exists already" in str(error)
                return 2
            return 0

        return convert

    return statuses([work(who) for who in range(number)], folder)


def whose(folder: Path) -> str:
    """Whose data set it is: all of it, and nothing else is there."""
    assert [path.name for path in sorted(folder.iterdir()) if not path.name.startswith("output")] == ["tiny"]
    said = contents(folder / "tiny")
    assert len(said) == 2
    (one,) = set(said.values())
    return str(one)


@pytest.mark.parametrize("round_", range(2))
def test_one_of_several_conversions_of_a_name_wins(tmp_path: Path, round_: int) -> None:
    assert sorted(conversions(tmp_path, 4, overwrite=False)) == [0, 2, 2, 2]
    whose(tmp_path)


@pytest.mark.parametrize("round_", range(2))
def test_conversions_that_overwrite_each_other_leave_a_whole_one(tmp_path: Path, round_: int) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "old").write_text("old")
    assert conversions(tmp_path, 4, overwrite=True) == [0, 0, 0, 0]
    whose(tmp_path)

"""Comparisons and searches that are killed at any moment go on to the very same end when their line is typed again."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import cli
from recbole_painvrl.comparison.record import read as read_comparison
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.tuning.record import read as read_search
from tests.endings import SECONDS, Moment, content, end, started, status_of, steady
from tests.inputs import write_checkerboard

ROUNDS = {"warmup_epochs": 1, "n_rounds": 1, "n_environments": 2, "env_max_iter": 2, "mask_steps": 2}
SIZES = {"train_batch_size": 256, "embedding_size": 4, "feature_size": 4, "epochs": 2}
SPACE = "learning_rate choice [0.001, 0.01]\nreg_weight loguniform -8, -1\n"
TUNED = ["-m", "PaInvRL,BPR", "--tune=2", "--seeds=1,2"]
SEARCH = ["-m", "PaInvRL", "--params_file=space.hyper", "--algo=random", "--max_evals=3"]

TRIALS, CELLS = "recbole_painvrl.tuning.record:Record", "recbole_painvrl.comparison.record:Record"
COMPARE, SEARCHING = "recbole_painvrl.comparison.compare", "recbole_painvrl.tuning.search"
MOMENTS = [
    (TUNED, Moment("a trial is about to be recorded", f"{TRIALS}.write_trials", 3)),
    (TUNED, Moment("a run has ended and is not recorded", "recbole_painvrl.comparison.schedule:Schedule._ended", 2)),
    (SEARCH, Moment("the winner is trained", "recbole_painvrl.trainer:RunMixin.per_user", 1)),
]
MORE = [
    (TUNED, Moment("a trial is recorded", f"{TRIALS}.write_trials", 2, after=True)),
    (TUNED, Moment("a trial has ended", "recbole_painvrl.tuning.trial:TrialFolder.finish", 2, after=True)),
    (TUNED, Moment("a trial is about to end", "recbole_painvrl.tuning.trial:TrialFolder.finish", 3)),
    (TUNED, Moment("the first model is tuned", "recbole_painvrl.tuning.equal:_tuned", 1, after=True)),
    (TUNED, Moment("all are tuned", f"{COMPARE}:rows")),
    (TUNED, Moment("the comparison is about to be recorded", f"{CELLS}.write")),
    (TUNED, Moment("the comparison is recorded", f"{CELLS}.write", after=True)),
    (TUNED, Moment("a run has begun", "recbole_painvrl.comparison.in_process:InProcess.start", 2)),
    (TUNED, Moment("a run is recorded", f"{CELLS}.write", 4, after=True)),
    (TUNED, Moment("the table", f"{COMPARE}:_print_table")),
    (SEARCH, Moment("the search is about to be recorded", f"{TRIALS}.write")),
    (SEARCH, Moment("the search is recorded", f"{TRIALS}.write", after=True)),
    (SEARCH, Moment("a trial begins", "recbole_painvrl.tuning.schedule:TrialSchedule._start", 2)),
    (SEARCH, Moment("a trial's scores", "recbole_painvrl.tuning.schedule:collect", 2)),
    (SEARCH, Moment("a trial's scores are known", "recbole_painvrl.tuning.schedule:collect", 3, after=True)),
    (SEARCH, Moment("the best trials are told", f"{SEARCHING}:_report")),
    (SEARCH, Moment("the winner is about to be recorded", f"{TRIALS}.write", 2)),
]
ALL = MOMENTS + MORE


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    board = write_checkerboard(tmp_path_factory.mktemp("data"))
    values = board.config(**ROUNDS, **SIZES, use_gpu=False).items()
    return ["-d", "board", *(f"--{key}={one if isinstance(one, str) else json.dumps(one)}" for key, one in values)]


@pytest.fixture(scope="module")
def straight(keys: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the two commands leave when nobody disturbs them."""
    left = {}
    for words in (TUNED, SEARCH):
        folder = tmp_path_factory.mktemp("straight")
        assert done(words, keys, folder) == 0, (folder / "output").read_text()
        left[words[1]] = all_of(folder)
    return left


def done(words: list[str], keys: list[str], folder: Path, moment: Moment | None = None) -> int:
    return status_of(lambda: command(words, keys, folder, moment), folder / "output")


def command(words: list[str], keys: list[str], folder: Path, moment: Moment | None = None) -> int:
    """The command, in this process, where paths are relative to ``folder``, until a moment if one is given."""
    os.chdir(folder)
    Path("space.hyper").write_text(SPACE)
    if moment:
        moment.arm(lambda: end(signal.SIGKILL))
    return cli.main([*words, *keys, "--parallel=1"])


def all_of(folder: Path) -> dict[str, Any]:
    """Everything a command left below ``runs/``, without times: runs, trials, records."""
    found: dict[str, Any] = {}
    for run in (folder / "runs").glob("board/*/*"):
        found[str(run.relative_to(folder))] = content(run)
    for path in (folder / "runs").glob("searches/*"):
        record = read_search(path)
        trials = [steady(vars(trial)) for trial in record.trials]
        records = [steady(RunFolder(record.folder(trial)).records()) for trial in record.trials]
        found[path.name] = {"trials": trials, "records": records, "winner": steady(record.winner)}
    for path in (folder / "runs").glob("comparisons/*"):
        record = read_comparison(path)
        cells = [(cell.name, cell.state, cell.folder, cell.error) for cell in record.cells]
        found[path.name] = {"cells": cells, "tuned": steady(record.tuned)}
    return found


def kills() -> list[Any]:
    """All moments; most are the slow suite's."""
    named = [
        (f"{'search' if words is SEARCH else 'comparison'}: {moment.name}", words, moment) for words, moment in ALL
    ]
    few = len(MOMENTS)
    return [
        pytest.param(words, moment, id=name, marks=[] if place < few else pytest.mark.slow)
        for place, (name, words, moment) in enumerate(named)
    ]


@pytest.mark.parametrize(("words", "moment"), kills())
def test_a_killed_command_goes_on_to_the_same_end(
    words: list[str], moment: Moment, keys: list[str], straight: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """At any of twenty moments."""
    assert done(words, keys, tmp_path, moment) == -signal.SIGKILL
    assert done(words, keys, tmp_path) == 0, (tmp_path / "output").read_text()
    assert all_of(tmp_path) == straight[words[1]]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("words", [TUNED, SEARCH], ids=["comparison", "search"])
def test_it_may_be_killed_again_and_again(
    words: list[str], keys: list[str], straight: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Twenty kills at times drawn from a seed, and as many as that leaves it to live."""
    draw, began = random.Random(8), time.monotonic()
    (tmp_path / "once").mkdir()
    assert done(words, keys, tmp_path / "once") == 0
    seconds = (time.monotonic() - began) / 2
    for _ in range(20):
        process = started(lambda: command(words, keys, tmp_path), tmp_path / "output")
        process.join(draw.uniform(0, seconds))
        if process.exitcode is None:
            process.kill()
        process.join(SECONDS)
    assert done(words, keys, tmp_path) == 0, (tmp_path / "output").read_text()
    assert all_of(tmp_path) == straight[words[1]]

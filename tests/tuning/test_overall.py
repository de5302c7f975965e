"""How far all searches of a comparison are and what is left, from trials on paper and from a command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_painvrl import cli
from recbole_painvrl.tuning.overall import Overall, seconds_left, trial_seconds
from recbole_painvrl.tuning.record import Record, Trial
from tests.comparison.conftest import Flags
from tests.comparison.test_compare import the_comparison
from tests.comparison.test_progress import Clock


def test_nothing_is_known_before_a_trial_is_finished() -> None:
    assert seconds_left([[], []], [3, 3], n_runs=2, slots=1) is None


def test_searches_come_one_after_the_other_and_all_runs_after_them() -> None:
    """A model that is not measured counts like the mean of the two that are, 20 seconds."""
    measured = [[8.0, 12.0], [30.0], []]
    assert seconds_left(measured, [0, 2, 3], n_runs=0, slots=1) == 2 * 30 + 3 * 20
    assert seconds_left(measured, [0, 2, 3], n_runs=2, slots=1) == 2 * 30 + 3 * 20 + 2 * (10 + 30 + 20)
    assert seconds_left(measured, [0, 2, 3], n_runs=0, slots=2) == 30 + 3 * 20 / 2
    assert seconds_left(measured, [0, 2, 3], n_runs=1, slots=9) == 30 + 20 + 30  # each stage takes its longest
    assert seconds_left(measured, [0, 0, 0], n_runs=0, slots=1) == 0


def paper_plan(model: str, states: str, n_trials: int = 3, seconds: float = 10.0) -> Any:
    """A search of which ``states`` has a letter a trial: Done, Failed, Running."""
    names = {"d": "done", "f": "failed", "r": "running"}
    trials = [Trial(number, {}, names[one], seconds=seconds) for number, one in enumerate(states)]
    counted = Record(Path(model), {}, "", trials)
    return SimpleNamespace(base={"model": model, "dataset": "board"}, counted=counted, n_trials=n_trials)


@pytest.mark.parametrize(
    ("states", "number", "line"),
    [
        (("", ""), 0, "search 1 of 2 (MF on board), 0 of 6 trials done, 1:01:01 so far, time left unknown"),
        (("f", ""), 0, "search 1 of 2 (MF on board), 0 of 6 trials done, 1 failed, 1:01:01 so far, time left unknown"),
        (("dr", ""), 0, "search 1 of 2 (MF on board), 1 of 6 trials done, 1:01:01 so far, about 0:01:30 left"),
        # the space of MF had two trials only; one of ERM is there from before
        (("dd", "d"), 1, "search 2 of 2 (ERM on board), 3 of 5 trials done, 1:01:01 so far, about 0:01:00 left"),
        (
            ("ddd", "dfd"),
            1,
            "search 2 of 2 (ERM on board), 5 of 6 trials done, 1 failed, 1:01:01 so far, about 0:00:40 left",
        ),
    ],
)
def test_the_line(states: tuple[str, str], number: int, line: str) -> None:
    clock = Clock()
    plans = [paper_plan(model, one) for model, one in zip(("MF", "ERM"), states, strict=True)]
    overall = Overall(plans, 2, clock)
    clock.now += 3661
    overall.begin(plans[number], slots=1)
    assert overall.line() == f"in all: {line}"


def test_a_trial_takes_what_it_took_here_but_no_less_than_its_record_says() -> None:
    plan = paper_plan("MF", "d")
    overall = Overall([plan], 0, Clock())
    overall.begin(plan, slots=1)
    for seconds, left in ((25.0, "0:00:50"), (4.0, "0:00:20")):  # the second was continued
        overall.ended(plan.counted.trials[0], seconds)
        assert overall.line().endswith(f"about {left} left")


def test_a_tuned_comparison_tells_the_time_left(flags: Flags, capsys: pytest.CaptureFixture) -> None:
    words = ["-m", "MF,ERM", "-d", "board", "--seeds=1,2", *flags(epochs=1), "--parallel=1", "--tune=2"]
    assert cli.main(words) == 0
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("in all: ")]
    counts = [re.match(r"in all: search (\d) of 2 \((\w+) on board\), (\d) of 4 trials done", line) for line in lines]
    assert [one and one.groups() for one in counts] == [
        *(("1", "MF", done) for done in "012"),
        *(("2", "ERM", done) for done in "234"),
    ]
    assert ["time left unknown" in line for line in lines] == [True] + [False] * 5
    first, *_ = [line for line in said.splitlines() if line.startswith("board MF 1: done")]
    assert "time left unknown" not in first  # though no run of ERM is finished
    tuned = the_comparison().tuned
    assert list(trial_seconds(tuned)) == [("board", "MF"), ("board", "ERM")]
    shutil.rmtree(tuned[0]["search"])
    assert list(trial_seconds(tuned)) == [("board", "ERM")]


def test_trials_that_are_there_are_known_from_the_beginning(flags: Flags, capsys: pytest.CaptureFixture) -> None:
    words = ["-d", "board", "--seeds=1", *flags(epochs=1), "--parallel=1"]
    assert cli.main(["-m", "ERM", *words, "--tune=1"]) == 0
    capsys.readouterr()
    assert cli.main(["-m", "MF,ERM", *words, "--tune=2"]) == 0
    first, *_ = [line for line in capsys.readouterr().err.splitlines() if line.startswith("in all: ")]
    assert first.startswith("in all: search 1 of 2 (MF on board), 1 of 4 trials done")
    assert re.search("about .* left$", first)

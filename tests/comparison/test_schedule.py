"""What is run, waited for and recorded, with runs on paper."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.progress import Progress
from recbole_painvrl.comparison.record import Record, read
from recbole_painvrl.comparison.schedule import Schedule
from recbole_painvrl.comparison.stop import Stop
from recbole_painvrl.comparison.worker import Outcome
from recbole_painvrl.report.records import RunFolder
from tests.comparison.made import MadeRunner, finish, make_task

PATH = Path("runs/comparisons/0a1b")


def work_off(tasks: list[Task], runner: MadeRunner, stop: Stop | None = None) -> str:
    """Returns what was said."""
    said = io.StringIO()
    record = Record(PATH, {}, [task.cell for task in tasks])
    Schedule(record, tasks, runner, Progress(tasks, runner.slots, said), stop or Stop(at_once=False)).run()
    return said.getvalue()


def states() -> list[str]:
    return [cell.state for cell in read(PATH).cells]


def test_only_what_is_missing_is_run() -> None:
    tasks = [make_task(seed=seed) for seed in (1, 2, 3)]
    finish(tasks[1])
    runner = MadeRunner(slots=2)
    said = work_off(tasks, runner)
    assert runner.started == ["board BPR 1", "board BPR 3"]
    assert states() == ["done"] * 3
    assert "1 of 3 runs were done before" in said
    assert "board BPR 3: done (3 of 3 done" in said


def test_a_failure_is_recorded_and_the_others_go_on() -> None:
    runner = MadeRunner(ends={"board BPR 1": [Outcome("failed", "no such luck")]})
    said = work_off([make_task(seed=1), make_task(seed=2)], runner)
    assert states() == ["failed", "done"]
    assert read(PATH).cells[0].error == "no such luck"
    assert "board BPR 1: failed: no such luck (0 of 2 done, 1 failed" in said


def test_a_failed_run_is_tried_again_next_time() -> None:
    tasks = [make_task()]
    work_off(tasks, MadeRunner(ends={"board BPR 1": [Outcome("failed", "no such luck")]}))
    work_off([make_task()], MadeRunner())
    assert states() == ["done"]
    assert read(PATH).cells[0].error is None


def test_a_run_of_another_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes first, is passed over, and is done by its owner while the second one runs."""
    first, second = make_task(seed=1), make_task(seed=2)
    busy = {first.folder}
    monkeypatch.setattr(RunFolder, "owner", property(lambda run: "process 5 on host" if run.path in busy else ""))

    class Others(MadeRunner):
        def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
            if not self.running:
                finish(first)
            return super().finished(seconds)

    runner = Others()
    said = work_off([first, second], runner)
    assert runner.started == ["board BPR 2"]
    assert states() == ["done", "done"]
    assert said.count("board BPR 1: process 5 on host works on it; waiting") == 1
    assert "board BPR 1: done by another process (2 of 2 done" in said


def test_a_run_that_another_process_was_quicker_with_is_tried_again() -> None:
    runner = MadeRunner(ends={"board BPR 1": [Outcome("waiting")]})
    work_off([make_task(seed=1), make_task(seed=2)], runner)
    assert runner.started == ["board BPR 1", "board BPR 2", "board BPR 1"]
    assert states() == ["done", "done"]


def test_stopping_ends_the_runner_and_the_record_says_so() -> None:
    stop = Stop(at_once=False)

    class Stopping(MadeRunner):
        def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
            stop.received = 15
            finish(next(iter(self.running)))  # it came to its end meanwhile
            return []

    runner = Stopping(slots=2)
    with pytest.raises(KeyboardInterrupt):
        work_off([make_task(seed=seed) for seed in (1, 2, 3)], runner, stop)
    assert runner.stopped
    assert states() == ["done", "interrupted", "waiting"]

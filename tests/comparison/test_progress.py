"""The line that says how far all runs are, with a clock that the test sets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from recbole_painvrl.comparison.estimate import side_by_side
from recbole_painvrl.comparison.progress import Progress
from recbole_painvrl.report.records import RunFolder
from tests.comparison.made import finish, make_task


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_time_left_is_that_of_runs_alike(clock: Clock) -> None:
    tasks = [make_task("BPR", 1, "done"), make_task("BPR", 2, "running"), make_task("BPR", 3), make_task("Pop", 1)]
    progress = Progress(tasks, 2, io.StringIO(), clock=clock)
    assert progress.seconds_left() is None
    finish(tasks[0], seconds=10)
    progress.done(tasks[0])
    progress.start(tasks[1])
    assert progress.seconds_left() is None  # Pop has never been timed
    tasks[3].cell.state = "failed"
    clock.now += 4
    assert progress.seconds_left() == pytest.approx(10)  # 6 and 10 seconds side by side
    tasks[2].cell.state = "done"
    assert progress.seconds_left() == pytest.approx(6)
    clock.now += 20
    assert progress.seconds_left() == 0


def test_the_line(clock: Clock) -> None:
    tasks = [make_task("BPR", 1, "done"), make_task("BPR", 2, "running"), make_task("BPR", 3, "failed")]
    progress = Progress(tasks, 1, io.StringIO(), clock=clock)
    progress.start(tasks[1])
    clock.now += 3723
    assert progress.line() == "1 of 3 done, 1 failed, board BPR 2, 1:02:03 so far, time left unknown"
    RunFolder(tasks[1].folder).path.mkdir(parents=True)
    for epoch in range(3):
        RunFolder(tasks[1].folder).record("train", epoch=epoch)
        RunFolder(tasks[1].folder).record("valid", epoch=epoch)
    with open(Path(tasks[1].folder, "records.jsonl"), "a") as file:
        file.write('{"event": "train", "epo')  # being written
    assert "board BPR 2 (epoch 2), " in progress.line()


def test_a_terminal_has_one_line_that_changes(clock: Clock) -> None:
    stream = Terminal()
    progress = Progress([make_task()], 1, stream, clock=clock)
    progress.show()
    assert not stream.getvalue()
    for _ in range(2):
        clock.now += 1
        progress.show()
    progress.say("something")
    progress.close()
    assert stream.getvalue() == (
        "\r\x1b[K0 of 1 done, 0:00:01 so far, time left unknown\r\x1b[K0 of 1 done, 0:00:02 so far, time left unknown"
        "\r\x1b[Ksomething\n"
    )


def test_the_line_is_cut_to_the_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    progress = Progress([make_task()], 1, stream, clock=clock)
    clock.now += 1
    progress.show()
    assert stream.getvalue() == "\r\x1b[K0 of 1 done, 0:00:0"


@pytest.mark.parametrize(("stream", "live"), [(io.StringIO(), True), (Terminal(), False)])
def test_elsewhere_a_line_comes_every_minute(clock: Clock, stream: io.StringIO, live: bool) -> None:
    progress = Progress([make_task()], 1, stream, live, clock)
    for _ in range(130):
        clock.now += 1
        progress.show()
    assert stream.getvalue().splitlines() == [
        "0 of 1 done, 0:01:00 so far, time left unknown",
        "0 of 1 done, 0:02:00 so far, time left unknown",
    ]


def test_before_a_run_is_finished_the_time_left_is_that_of_trials(clock: Clock) -> None:
    tasks = [make_task("BPR", 1, "running"), make_task("BPR", 2), make_task("MF", 1)]
    estimates = {("board", "BPR"): 20.0, ("board", "MF"): 5.0}
    progress = Progress(tasks, 1, io.StringIO(), clock=clock, estimates=estimates)
    progress.start(tasks[0])
    clock.now += 8
    assert progress.times() == "0:00:08 so far, about 0:00:37 left"
    tasks[0].cell.state = "done"
    finish(tasks[0], seconds=10)
    progress.done(tasks[0], seconds=12)
    assert progress.seconds_left() == pytest.approx(12 + 5)  # its own runs are known better
    assert Progress(tasks, 1, io.StringIO(), clock=clock, estimates={("other", "MF"): 1.0}).seconds_left() is None


@pytest.mark.parametrize(
    ("seconds", "slots", "together"), [([], 3, 0), ([5, 5, 5, 5], 2, 10), ([12, 1, 1], 3, 12), ([3], 8, 3)]
)
def test_work_side_by_side_takes_its_share_but_no_less_than_the_longest(
    seconds: list[float], slots: int, together: float
) -> None:
    assert side_by_side(seconds, slots) == together

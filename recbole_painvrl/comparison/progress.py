"""How far a comparison is: one line that changes on a terminal, a line every so often elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 60.0
_TAIL_BYTES = 1 << 16
_CLEAR = "\r\x1b[K"


class Progress:
    """Tells how far all runs are.

    The time left is estimated from finished runs of the same model on the same data set, and unknown as long as one
    is missing.

    Args:
        tasks: All runs.
        slots: How many run at once.
        stream: Where to write.
        live: Whether a line may be changed in place if ``stream`` is a terminal.
        clock: Seconds since any moment.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        slots: int,
        stream: TextIO,
        live: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks, self._slots, self._stream, self._clock = tasks, slots, stream, clock
        self._in_place = live and stream.isatty()
        self._began = self._shown = clock()
        self._started: dict[Task, float] = {}
        self._seconds: dict[tuple[str, str], list[float]] = {}
        self._standing = False

    def start(self, task: Task) -> None:
        """Notes that a run begins."""
        self._started[task] = self._clock()

    def done(self, task: Task) -> None:
        """Takes a finished run's seconds for an estimate of those like it."""
        try:
            result = RunFolder(task.folder).read_json("result.json")
            seconds = result.get("seconds_train", 0.0) + result.get("seconds_eval", 0.0)
        except (UserError, AttributeError, TypeError):  # damaged, which the table tells
            return
        self._seconds.setdefault(_kind(task), []).append(seconds)

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        self._write((_CLEAR if self._standing else "") + text + "\n")
        self._standing = False

    def show(self) -> None:
        """Writes the state of all runs if it is time to."""
        now = self._clock()
        if now - self._shown < (TERMINAL_SECONDS if self._in_place else LOG_SECONDS):
            return
        self._shown = now
        if self._in_place:
            self._write(_CLEAR + self.line()[: shutil.get_terminal_size().columns - 1])
            self._standing = True
        else:
            self.say(self.line())

    def close(self) -> None:
        """Takes a line that would change away."""
        if self._standing:
            self._write(_CLEAR)
            self._standing = False

    def line(self) -> str:
        """Returns the state of all runs: how many are done, which are running, the time so far and left."""
        return ", ".join([self.counts(), *self._running(), self.times()])

    def counts(self) -> str:
        """Returns how many runs are done and how many have failed."""
        states = [task.cell.state for task in self._tasks]
        failed = states.count("failed")
        return f"{states.count('done')} of {len(states)} done" + (f", {failed} failed" if failed else "")

    def times(self) -> str:
        """Returns the time so far and left."""
        left = self.seconds_left()
        return f"{_clock_time(self._clock() - self._began)} so far, " + (
            "time left unknown" if left is None else f"about {_clock_time(left)} left"
        )

    def seconds_left(self) -> float | None:
        """Returns the estimated seconds until all runs are done; None if one is of an unknown kind."""
        open_tasks = [task for task in self._tasks if task.cell.state in ("waiting", "running")]
        if any(_kind(task) not in self._seconds for task in open_tasks):
            return None
        left = [self._left(task) for task in open_tasks]
        return max(sum(left) / self._slots, max(left, default=0.0))

    def _left(self, task: Task) -> float:
        times = self._seconds[_kind(task)]
        spent = self._clock() - self._started[task] if task.cell.state == "running" else 0.0
        return max(0.0, sum(times) / len(times) - spent)

    def _running(self) -> list[str]:
        tasks = [task for task in self._tasks if task.cell.state == "running"]
        return [f"{task.cell.name}{_epoch(task.folder)}" for task in tasks]

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _kind(task: Task) -> tuple[str, str]:
    return task.cell.dataset, task.cell.model


def _epoch(folder: Path) -> str:
    """Returns `` (epoch 7)`` for the last epoch that a run recorded, an empty text if there is none."""
    file = folder / "records.jsonl"
    try:
        with open(file, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            lines = stream.read().splitlines(keepends=True)
    except OSError:
        return ""
    trained = [line for line in lines if line.startswith(b'{"event": "train"') and line.endswith(b"\n")]
    return f" (epoch {json.loads(trained[-1])['epoch']})" if trained else ""


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"

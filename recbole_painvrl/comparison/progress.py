"""How far a comparison is: one line that changes on a terminal, a line every so often elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TextIO

from recbole_painvrl.comparison.estimate import side_by_side, times
from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 60.0
_TAIL_BYTES = 1 << 16
_CLEAR = "\r\x1b[K"


class Progress:
    """Tells how far all runs are.

    The time left is estimated from finished runs of the same model on the same data set, or as long as there are none
    from ``estimates``; it is unknown as long as neither knows a model that is open.

    Args:
        tasks: All runs.
        slots: How many run at once.
        stream: Where to write.
        live: Whether a line may be changed in place if ``stream`` is a terminal.
        clock: Seconds since any moment.
        estimates: Seconds that a run takes, by data set and model, as far as anything is known before one is finished.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        slots: int,
        stream: TextIO,
        live: bool = True,
        clock: Callable[[], float] = time.monotonic,
        estimates: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        self._tasks, self._slots, self._stream, self._clock = tasks, slots, stream, clock
        self._in_place = live and stream.isatty()
        self._began = self._shown = clock()
        self._started: dict[Task, float] = {}
        self._seconds: dict[tuple[str, str], list[float]] = {}
        self._estimates = estimates or {}
        self._standing = False

    def start(self, task: Task) -> None:
        """Notes that a run begins."""
        self._started[task] = self._clock()

    def done(self, task: Task, seconds: float = 0.0) -> None:
        """Takes a finished run's time for an estimate of those like it.

        Args:
            task: The run.
            seconds: What it took here: more than its training, but less than all of it if it was continued.
        """
        try:
            result = RunFolder(task.folder).read_json("result.json")
            trained = result.get("seconds_train", 0.0) + result.get("seconds_eval", 0.0)
        except (UserError, AttributeError, TypeError):  # damaged, which the table tells
            return
        self._seconds.setdefault(_kind(task), []).append(max(trained, seconds))

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
        return times(self._clock() - self._began, self.seconds_left())

    def seconds_left(self) -> float | None:
        """Returns the estimated seconds until all runs are done; None if one is of an unknown kind."""
        open_tasks = [task for task in self._tasks if task.cell.state in ("waiting", "running")]
        left = [whole - self._spent(task) for task in open_tasks if (whole := self._whole(task)) is not None]
        if len(left) < len(open_tasks):
            return None
        return side_by_side([max(0.0, one) for one in left], self._slots)

    def _whole(self, task: Task) -> float | None:
        """Returns the seconds that a run is expected to take from its beginning to its end."""
        seconds = self._seconds.get(_kind(task))
        return fmean(seconds) if seconds else self._estimates.get(_kind(task))

    def _spent(self, task: Task) -> float:
        return self._clock() - self._started[task] if task.cell.state == "running" else 0.0

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

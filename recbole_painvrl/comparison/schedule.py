"""Which run is next, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.progress import Progress
from recbole_painvrl.comparison.record import Record
from recbole_painvrl.comparison.stop import Stop
from recbole_painvrl.comparison.worker import Outcome
from recbole_painvrl.report.records import RunFolder

POLL_SECONDS = 0.25


class Runner(Protocol):
    """Where runs are made: :class:`InProcess`, :class:`Processes` or :class:`OnRay`."""

    slots: int
    live: bool

    @property
    def running(self) -> dict:
        """The runs that have begun and not been collected."""

    @property
    def free(self) -> bool:
        """Whether another run can begin."""

    def start(self, task: Task) -> None:
        """Begins a run."""

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Returns what ended; waits up to ``seconds`` if nothing did."""

    def stop(self) -> None:
        """Ends all runs so that they can be continued."""


class Schedule:
    """Makes all runs that are not done, in order, but none that another process works on.

    A run that another process works on is waited for: once it is done it counts, and if it ends otherwise it is
    continued here.

    Args:
        record: The comparison, written whenever a run changes its state.
        tasks: Its runs.
        runner: Where they are made.
        progress: Who is told.
        stop: Whether the user wants to end.
    """

    def __init__(self, record: Record, tasks: Sequence[Task], runner: Runner, progress: Progress, stop: Stop) -> None:
        self._record, self._runner, self._progress, self._stop = record, runner, progress, stop
        self._tasks = tasks
        self._waiting = [task for task in tasks if not self._found(task)]
        self._told: set[Task] = set()
        record.write()
        if len(self._waiting) < len(tasks):
            progress.say(f"{len(tasks) - len(self._waiting)} of {len(tasks)} runs were done before")

    def run(self) -> None:
        """Makes the runs.

        Raises:
            KeyboardInterrupt: The user stopped it; what was running has been ended, and the record says so.
        """
        try:
            while self._waiting or self._runner.running:
                self._fill()
                for task, outcome in self._runner.finished(POLL_SECONDS):
                    self._ended(task, outcome)
                self._stop.check()
                self._progress.show()
        finally:
            self._progress.close()
            self._end()

    def _found(self, task: Task) -> bool:
        finished = RunFolder(task.folder).finished
        if finished:
            task.cell.state = "done"
            self._progress.done(task)
        return finished

    def _fill(self) -> None:
        for task in list(self._waiting):
            if not self._runner.free:
                return
            self._stop.check()
            if self._found(task):
                self._waiting.remove(task)
                self._tell(task, "done by another process")
            elif not self._busy(task):
                self._start(task)

    def _busy(self, task: Task) -> bool:
        owner = RunFolder(task.folder).owner
        if owner and task not in self._told:
            self._told.add(task)
            self._progress.say(f"{task.cell.name}: {owner} works on it; waiting")
        return bool(owner)

    def _start(self, task: Task) -> None:
        task.cell.state = "running"
        self._waiting.remove(task)
        self._progress.start(task)
        self._record.write()
        self._runner.start(task)

    def _ended(self, task: Task, outcome: Outcome) -> None:
        task.cell.state, task.cell.error = outcome.state, outcome.error
        if outcome.state == "waiting":  # another process was quicker
            self._waiting.append(task)
            return
        if outcome.state == "done":
            self._progress.done(task, outcome.seconds)
        self._tell(task, f"{outcome.state}: {outcome.error}" if outcome.error else outcome.state)

    def _tell(self, task: Task, what: str) -> None:
        self._record.write()
        self._progress.say(f"{task.cell.name}: {what} ({self._progress.counts()}, {self._progress.times()})")

    def _end(self) -> None:
        """Ends what is still running, if the loop was left early."""
        try:
            self._runner.stop()
        finally:
            for task in self._tasks:
                if task.cell.state == "running" and not self._found(task):
                    task.cell.state = "interrupted"
            self._record.write()

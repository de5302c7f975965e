"""A trial in a Ray worker: reports its best score after each validation of its final training to ASHA."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.worker import run_logged
from recbole_painvrl.tuning.trial import TrialFolder

SCORE = "score"
ERROR = "error.txt"
BUSY_SECONDS = 60.0


class Reports:
    """What a trial has reported of its final training, kept in ``reports.jsonl``.

    A trial that is continued, or that was done before a search is continued, reports again what it did then: so ASHA
    knows what it knew.

    Args:
        folder: The trial's folder.
        report: Takes a score; may end this thread.
    """

    def __init__(self, folder: Path, report: Callable[[float], None]) -> None:
        self._file, self._report = folder / "reports.jsonl", report
        self._former: dict[int, float] = reported(folder)
        self._replayed = False

    def add(self, epoch: int, score: float) -> None:
        """Reports the best score so far after a validation, and before it what was reported of earlier epochs."""
        self.replay(epoch)
        with open(self._file, "a", encoding="utf-8") as file:
            file.write(json.dumps([epoch, score]) + "\n")
        self._report(score)

    def replay(self, until: float = float("inf")) -> None:
        """Reports again, once, what was reported of epochs before ``until``, and forgets the rest."""
        if self._replayed:
            return
        self._replayed = True
        kept = {epoch: score for epoch, score in self._former.items() if epoch < until}
        if len(kept) < len(self._former):
            self._file.write_text("".join(json.dumps([*one]) + "\n" for one in kept.items()), encoding="utf-8")
        for score in kept.values():
            self._report(score)


def reported(folder: Path) -> dict[int, float]:
    """Returns the best score so far after each validation that a trial has reported, by epoch."""
    file = folder / "reports.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
    return {epoch: score for epoch, score in (json.loads(line) for line in lines if line.endswith("\n"))}


def ray_trial(config: Mapping[str, int], tasks: Mapping[int, Task], ended: frozenset[int], threads: int) -> None:
    """The function that Ray Tune calls in a worker; a trial that fails leaves the reason in its folder.

    Args:
        config: The trial's ``number``.
        tasks: All trials by number.
        ended: Numbers of those that are done or were stopped before: they only report again.
        threads: Threads of each.
    """
    from ray.air import session

    task = tasks[config["number"]]
    os.chdir(task.directory)
    reports = Reports(task.folder, lambda score: session.report({SCORE: score}))
    if config["number"] not in ended:
        (task.folder / ERROR).unlink(missing_ok=True)
        _make(task, threads, reports)
    reports.replay()


def _make(task: Task, threads: int, reports: Reports) -> None:
    outcome = run_logged(task, threads, reports.add)
    deadline = time.monotonic() + BUSY_SECONDS
    while outcome.state == "waiting" and time.monotonic() < deadline:  # for the worker of a search that was just killed
        time.sleep(1.0)
        outcome = run_logged(task, threads, reports.add)
    if outcome.state != "done":
        TrialFolder(task.folder).write_text(ERROR, outcome.error or f"it was {outcome.state}")


def reason_of(folder: Path) -> str:
    """Returns why the trial in ``folder`` failed; an empty text if it did not."""
    file = folder / ERROR
    return file.read_text(encoding="utf-8") if file.is_file() else ""

"""How far the searches of a comparison are, and what is left of them and of the runs that follow, in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from recbole_painvrl.comparison.estimate import side_by_side, times
from recbole_painvrl.errors import UserError
from recbole_painvrl.tuning.plan import Plan
from recbole_painvrl.tuning.record import Trial, read


class Overall:
    """Tells how far all searches of a comparison are.

    Args:
        plans: The searches in the order in which they are made; their records have the trials that are there.
        n_runs: Runs that follow for each of them, one a seed.
        clock: Seconds since any moment.
    """

    def __init__(self, plans: Sequence[Plan], n_runs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._plans, self._n_runs, self._clock = plans, n_runs, clock
        self._took: list[dict[int, float]] = [{} for _ in plans]
        self._began = clock()
        self._number, self._slots = 0, 1

    def begin(self, plan: Plan, slots: int) -> None:
        """Notes which search is made from now on; those before it have come to their end.

        Args:
            plan: The search.
            slots: How many trials at once; those of other searches, and runs, are taken to be as many.
        """
        self._number, self._slots = next(place for place, one in enumerate(self._plans) if one is plan), slots

    def ended(self, trial: Trial, seconds: float) -> None:
        """Notes what a trial of this search took here, also what its record does not count, such as reading data."""
        self._took[self._number][trial.number] = seconds

    def line(self) -> str:
        """Returns which search of how many is made, how many of all trials are done, the time so far and left."""
        base = self._plans[self._number].base
        search = f"search {self._number + 1} of {len(self._plans)} ({base['model']} on {base['dataset']})"
        n_open = [0 if place < self._number else _n_open(plan) for place, plan in enumerate(self._plans)]
        measured = [
            finished_seconds(plan.counted.trials, took) for plan, took in zip(self._plans, self._took, strict=True)
        ]
        left = seconds_left(measured, n_open, self._n_runs, self._slots)
        return f"in all: {search}, {self._counts(sum(n_open))}, {times(self._clock() - self._began, left)}"

    def _counts(self, n_open: int) -> str:
        states = [trial.state for plan in self._plans for trial in plan.counted.trials]
        done, failed = states.count("done"), states.count("failed")
        return f"{done} of {done + failed + n_open} trials done" + (f", {failed} failed" if failed else "")


def _n_open(plan: Plan) -> int:
    return plan.n_trials - sum(trial.state in ("done", "failed") for trial in plan.counted.trials)


def finished_seconds(trials: Iterable[Trial], took: Mapping[int, float] | None = None) -> list[float]:
    """Returns what each trial that is done has taken: by its record, or more if ``took`` says so of its number."""
    done = [trial for trial in trials if trial.state == "done"]
    return [max(trial.seconds or 0.0, (took or {}).get(trial.number, 0.0)) for trial in done]


def seconds_left(measured: Sequence[Sequence[float]], n_open: Sequence[int], n_runs: int, slots: int) -> float | None:
    """Returns how long searches that are made one after the other take from now on, and all runs after them.

    Args:
        measured: What the finished trials of each search have taken; a search without any is taken to be like the mean
            of those that have some.
        n_open: Trials of each search that have not come to their end; one that is running counts in full.
        n_runs: Runs that follow for each search, each of which is taken to be like a trial.
        slots: How many trials or runs at once.

    Returns:
        The seconds; None if no trial has been measured.
    """
    means = [fmean(one) for one in measured if one]
    if not means:
        return None
    each = [fmean(one or means) for one in measured]
    searches = [side_by_side([seconds] * n, slots) for seconds, n in zip(each, n_open, strict=True)]
    return sum(searches) + side_by_side(each * n_runs, slots)


def trial_seconds(tuned: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Returns the mean seconds of the finished trials of tuned models, by data set and model.

    Args:
        tuned: The rows under ``tuned`` in a ``comparison.json``. Its runs need their searches no more: one that is
            deleted or damaged since is left out.
    """
    means = {}
    for row in tuned:
        try:
            seconds = finished_seconds(read(row["search"]).trials[: row["trials"]])
        except UserError:
            continue
        if seconds:
            means[row["dataset"], row["model"]] = fmean(seconds)
    return means

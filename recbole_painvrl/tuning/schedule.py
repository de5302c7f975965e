"""Trials in processes of this machine: proposed, made, continued, and their scores collected."""

from __future__ import annotations

import sys
import time

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.schedule import POLL_SECONDS, Runner
from recbole_painvrl.comparison.stop import Stop
from recbole_painvrl.comparison.worker import LOG, Outcome
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.tuning.overall import Overall
from recbole_painvrl.tuning.plan import Plan
from recbole_painvrl.tuning.proposals import Finished, next_proposal
from recbole_painvrl.tuning.record import Trial, ranked
from recbole_painvrl.tuning.trial import TrialFolder


class TrialSchedule:
    """Makes all trials of a search that are not done.

    Args:
        plan: The search, whose record holds the trials so far.
        runner: Where they are made.
        stop: Whether the user wants to end.
        overall: How far the comparison is that this search belongs to; None if it stands alone.
    """

    def __init__(self, plan: Plan, runner: Runner, stop: Stop, overall: Overall | None = None) -> None:
        self._plan, self._runner, self._stop = plan, runner, stop
        self._record = plan.record
        self._progress = TrialProgress(plan, overall)
        for trial in self._record.trials:
            collect(plan, trial)
        self._waiting = [trial for trial in plan.counted.trials if trial.state != "done"]
        self._running: dict[Task, Trial] = {}
        self._exhausted = False

    def run(self) -> None:
        """Makes the trials.

        Raises:
            KeyboardInterrupt: The user stopped it; what was running has been ended, and the record says so.
        """
        try:
            while self._fill() or self._running:
                for task, outcome in self._runner.finished(POLL_SECONDS):
                    self._ended(task, outcome)
                self._stop.check()
        finally:
            self._end()

    def _fill(self) -> bool:
        """Begins as many trials as there is room for; returns whether there are more to come."""
        while self._runner.free and (trial := self._next()):
            self._stop.check()
            self._start(trial)
        return bool(self._waiting) or not self._complete()

    def _complete(self) -> bool:
        return self._exhausted or len(self._record.trials) >= self._plan.n_trials

    def _next(self) -> Trial | None:
        """Returns the next trial to begin: one that was begun before, or else a new one."""
        for trial in self._waiting:
            if not RunFolder(self._record.folder(trial)).owner:  # an orphan of a killed search may still be ending
                self._waiting.remove(trial)
                return trial
        return None if self._waiting or self._complete() else self._propose()

    def _propose(self) -> Trial | None:
        trials, sign = self._record.trials, -1.0 if self._plan.bigger else 1.0
        finished: list[Finished] = [
            (trial.parameters, sign * trial.score if trial.state == "done" and trial.score is not None else None)
            for trial in trials
            if trial.state in ("done", "failed")
        ]
        tried = [trial.parameters for trial in trials]
        parameters = next_proposal(self._plan.proposer, len(trials), tried, finished)
        if parameters is None:
            self._exhausted = True
            self._progress.say("no other parameters are left to try")
            return None
        return self._record.add(parameters)

    def _start(self, trial: Trial) -> None:
        trial.state, trial.error = "running", None
        self._record.write_trials()
        try:
            task = self._plan.task(trial)
        except UserError as error:
            fail(trial, str(error))
            self._tell(trial)
            return
        self._running[task] = trial
        self._runner.start(task)

    def _ended(self, task: Task, outcome: Outcome) -> None:
        trial = self._running.pop(task)
        if outcome.state == "waiting":  # another process holds the folder
            trial.state = "waiting"
            self._waiting.append(trial)
            return
        trial.state, trial.error = outcome.state, outcome.error
        collect(self._plan, trial)
        self._tell(trial, outcome.seconds)

    def _tell(self, trial: Trial, seconds: float = 0.0) -> None:
        self._record.write_trials()
        self._progress.ended(trial, seconds)

    def _end(self) -> None:
        """Ends what is still running, if the loop was left early."""
        try:
            self._runner.stop()
        finally:
            for trial in self._record.trials:
                if trial.state == "running":
                    trial.state = "interrupted"
                    collect(self._plan, trial)
            self._record.write_trials()


class TrialProgress:
    """Tells what became of each trial, the best so far, and the time.

    Args:
        plan: The search.
        overall: How far the comparison is that it belongs to; None if it stands alone.
    """

    def __init__(self, plan: Plan, overall: Overall | None = None) -> None:
        self._plan, self._overall, self._began = plan, overall, time.monotonic()

    def say(self, text: str) -> None:
        """Writes a line."""
        print(text, file=sys.stderr, flush=True)

    def ended(self, trial: Trial, seconds: float = 0.0) -> None:
        """Writes what became of a trial that took ``seconds`` here, and how far all of them are."""
        what = f"{trial.state}: {trial.error}" if trial.error else f"{trial.state}, {shown(trial.score)}"
        self.say(f"trial {trial.number}: {what} ({self.counts()}{self._best()}, {self._seconds()} s so far)")
        if self._overall:
            self._overall.ended(trial, seconds)
            self.say(self._overall.line())

    def counts(self) -> str:
        """Returns how many trials have come to an end."""
        states = [trial.state for trial in self._plan.counted.trials]
        counts = {state: states.count(state) for state in ("stopped", "failed") if state in states}
        more = "".join(f", {count} {state}" for state, count in counts.items())
        return f"{states.count('done')} of {self._plan.n_trials} done{more}"

    def _best(self) -> str:
        best = next(iter(ranked(self._plan.counted.trials, self._plan.bigger)), None)
        return f", best {shown(best.score)} by trial {best.number}" if best else ""

    def _seconds(self) -> int:
        return round(time.monotonic() - self._began)


def collect(plan: Plan, trial: Trial) -> None:
    """Takes over what a trial's folder says: of a finished one its score, of any how long it has trained."""
    folder = TrialFolder(plan.record.folder(trial))
    if folder.finished:
        trial.state, trial.error, trial.score = "done", None, folder.validation()["best_valid_score"]
        if trial.score is None:
            fail(trial, "it has no validation score")
    elif trial.state not in ("failed", "stopped"):
        trial.score = None
        if trial.state == "done":  # its folder was deleted
            trial.state = "waiting"
    trained, validated = folder.records("train"), folder.records("valid")
    trial.epochs = len(trained)
    trial.seconds = round(sum(one["seconds"] for one in [*trained, *validated]), 3)


def fail(trial: Trial, reason: str) -> None:
    """Notes that a trial failed."""
    trial.state, trial.error, trial.score = "failed", " ".join(reason.split()), None


def log_of(plan: Plan, trial: Trial) -> str:
    """Returns `` (see FILE)`` if a trial has left a log of its own."""
    file = plan.record.folder(trial) / LOG
    return f" (see {file})" if file.is_file() else ""


def shown(score: float | None) -> str:
    """Returns a score as text."""
    return "no score" if score is None else f"{score:.6g}"

"""What a search finds beside the shipped defaults, and what stopping trials early saves of it.

    python -m benchmarks.search_cost --dataset tiktok --space benchmarks/tiktok.hyper --set eval_step=2 \\
        --set stopping_step=10 --output results/search-cost.md

For each way to propose trials (``--algos``) all are trained to their own end and validated, which is a search of its
own that goes on where it stopped (``--tool=Hyperopt --algo=random`` or ``tpe``). A trial's course follows from its
seed. So what ASHA would have stopped of them need not be trained twice: Ray's scheduler, as ``--tool=Ray`` uses it, is
shown the validations of each trial's final training when they would have come, with so many trials at once, each at the
CPU seconds that it had taken by then. (``tpe`` has proposed its trials knowing all former ones to their end; they are
taken as they are.) What a trial found at its end is what a search chooses by. The shipped defaults are a run with the
same flags. No trial is tested.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run
from recbole_painvrl.comparison.local import local_runner
from recbole_painvrl.comparison.stop import Stop
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.tuning.grammar import read_space
from recbole_painvrl.tuning.on_ray import asha
from recbole_painvrl.tuning.plan import DEFAULT_GRACE, Plan, Search, plan
from recbole_painvrl.tuning.ray_trial import SCORE
from recbole_painvrl.tuning.schedule import TrialSchedule
from recbole_painvrl.tuning.search import opened
from recbole_painvrl.tuning.trial import TrialFolder

HEADER = ("trials", "run to their end", "CPU seconds", "share", "best validation", "its trial")


@dataclass(frozen=True)
class Course:
    """One trial as it went.

    Attributes:
        number: The trial's number.
        seconds: CPU seconds since its start at each validation of its final training, and last at its end.
        scores: Best score so far at each of them, which is what a trial on Ray reports.
        result: Its score at its end; not the last of ``scores`` where the model is settled by validation after that.
    """

    number: int
    seconds: tuple[float, ...]
    scores: tuple[float, ...]
    result: float

    @classmethod
    def read(cls, number: int, folder: Path, bigger: bool) -> Course:
        """Reads the records of a finished trial."""
        events = RunFolder(folder).records()
        taken = since_start([event["cpu"] for event in events])
        seconds, scores = [], []
        for event, second in zip(events, taken, strict=True):
            if event["event"] == "mask":  # of a round, after which the recommender is drawn anew
                seconds, scores = [], []
            elif event["event"] == "valid":
                seconds.append(second)
                former = scores[-1:] or [event["score"]]
                scores.append(max(*former, event["score"]) if bigger else min(*former, event["score"]))
        result = TrialFolder(folder).validation()["best_valid_score"]
        return cls(number, (*seconds, taken[-1]), tuple(scores), result)


def since_start(cpu: Sequence[float]) -> list[float]:
    """Returns the CPU seconds of each event since the first one, of processes that may have made other trials before.

    A trial that was interrupted goes on in another process, whose own seconds begin at 0.
    """
    passed = [0.0]
    for former, now in pairwise(cpu):
        passed.append(passed[-1] + (now - former if now >= former else now))
    return passed


@dataclass(frozen=True)
class Known:
    """What Ray's scheduler asks of a trial."""

    trial_id: str


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        number: Its number.
        seconds: CPU seconds that it took.
        score: Its score at its end, or the best until it was stopped.
        stopped: Whether it was stopped before its end.
    """

    number: int
    seconds: float
    score: float
    stopped: bool


def replayed(courses: Sequence[Course], scheduler: Any, bigger: bool, slots: int) -> list[Outcome]:
    """Shows a scheduler the validations of all trials in the order of time, ``slots`` trials at once.

    Args:
        courses: The trials in the order in which they begin.
        scheduler: A fresh scheduler of Ray Tune.
        bigger: Whether larger scores are better.
        slots: Trials at once.
    """
    scheduler.set_search_properties(SCORE, "max" if bigger else "min")
    waiting, outcomes = iter(courses), []
    running: list[tuple[float, int, Iterator[Outcome | float]]] = []

    def go_on(began: float, number: int, trial: Iterator[Outcome | float]) -> None:
        told = next(trial)
        if isinstance(told, Outcome):
            outcomes.append(told)
            begin(began + told.seconds)
        else:
            heapq.heappush(running, (began + told, number, trial))

    def begin(moment: float) -> None:
        course = next(waiting, None)
        if course is not None:
            starts[course.number] = moment
            go_on(moment, course.number, _trial(course, scheduler))

    starts: dict[int, float] = {}
    for _ in range(slots):
        begin(0.0)
    while running:
        _, number, trial = heapq.heappop(running)
        go_on(starts[number], number, trial)
    return sorted(outcomes, key=lambda one: one.number)


def _trial(course: Course, scheduler: Any) -> Iterator[Outcome | float]:
    """Yields when each validation comes, in seconds since the trial's start, and in the end what became of it."""
    known = Known(str(course.number))
    scheduler.on_trial_add(None, known)
    for place, score in enumerate(course.scores):
        yield course.seconds[place]
        decision = scheduler.on_trial_result(None, known, {"training_iteration": place + 1, SCORE: score})
        if decision == scheduler.STOP:
            yield Outcome(course.number, course.seconds[place], score, True)
            return
    yield Outcome(course.number, course.seconds[-1], course.result, False)


def line(label: str, outcomes: Sequence[Outcome], whole: float, bigger: bool) -> list[str]:
    """Returns a row of the table."""
    seconds = sum(one.seconds for one in outcomes)
    sign = 1 if bigger else -1
    # as a search chooses: what came to its end before what was stopped
    best = max(outcomes, key=lambda one: (not one.stopped, sign * one.score, -one.number))
    ended = sum(not one.stopped for one in outcomes)
    return [label, str(ended), f"{seconds:,.0f}", f"{seconds / whole:.2f}", f"{best.score:.5f}", str(best.number)]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="PaInvRL")
    parser.add_argument("--dataset", default="tiktok")
    parser.add_argument("--space", type=Path, required=True, help="a file in the grammar of hyper.test")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--algos", default="random,tpe", help="comma-separated values of --algo")
    parser.add_argument("--seed", type=int, default=1)
    add_keys(parser, "trials")
    parser.add_argument("--jobs", type=int, default=2, help="random trials at once, and all in the replay")
    parser.add_argument("--grace", type=int, default=DEFAULT_GRACE, help="--grace_period of --tool=Ray")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def search_of(given: argparse.Namespace, keys: Mapping[str, str], algo: str) -> Search:
    """Returns the search that the command line asks for."""
    _, space = read_space(given.space)
    asked = {**keys, "show_progress": "False"}
    return Search(
        given.model, given.dataset, given.seed, (), asked, str(given.space), space, algorithm=algo, trials=given.trials
    )


def made(search: Search, jobs: int) -> Plan:
    """Makes the trials of a search that are not done, ``jobs`` at once; none of them, nor the best, is tested."""
    planned = plan(search)
    runner = local_runner(planned.n_trials, jobs, [planned.base.plain()])
    with opened(planned), Stop(at_once=not runner.live) as stop:
        TrialSchedule(planned, runner, stop).run()
    return planned


def rows_of(planned: Plan, given: argparse.Namespace) -> list[list[str]]:
    """Returns what a finished search found and took, and what ASHA would have of the same trials."""
    record, bigger, algo = planned.record, planned.bigger, planned.search.algorithm
    done = [trial for trial in record.trials if trial.state == "done"]
    courses = [Course.read(trial.number, record.folder(trial), bigger) for trial in done]
    whole = [Outcome(one.number, one.seconds[-1], one.result, False) for one in courses]
    seconds = sum(one.seconds for one in whole)
    scheduler = asha((planned.task(trial).settings for trial in done), given.grace)
    early = replayed(courses, scheduler, bigger, given.jobs)
    return [
        line(f"{algo}, all to their own end", whole, seconds, bigger),
        line(f"{algo}, ASHA with grace period {given.grace}", early, seconds, bigger),
    ]


def main() -> None:
    """Makes the searches and the run of the defaults, unless they are done, and writes the table."""
    given = arguments()
    keys = given_keys(given)
    rows = []
    for algo in given.algos.split(","):
        # what tpe proposes depends on which trials have ended by then: the same command has to propose the same
        jobs = given.jobs if algo == "random" else 1
        rows += rows_of(made(search_of(given, keys, algo), jobs), given)
    shipped = run({"model": given.model, "dataset": given.dataset, "seed": given.seed, "show_progress": False, **keys})
    rows.append(["shipped defaults", "", "", "", f"{shipped['best_valid_score']:.5f}", ""])
    head = (
        f"# Search: {given.model} on {given.dataset}\n\n{given.trials} trials of `{given.space}` each, seed "
        f"{given.seed}, {' '.join(given.set)}; validation {shipped['valid_metric']}. ASHA: Ray's scheduler on the same "
        f"trials' validations of their final training, {given.jobs} trials at once.\n\n"
    )
    write(given.output, head + markdown(HEADER, rows))
    print(given.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

"""A search from its command to its winner: trials on validation, then one run, which alone is tested."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from recbole_painvrl.comparison.local import local_runner
from recbole_painvrl.comparison.schedule import POLL_SECONDS
from recbole_painvrl.comparison.stop import Stop, Stopped
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import execute, run_folder
from recbole_painvrl.report.lock import Busy
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.summary import read_result, summary_table
from recbole_painvrl.tuning.page import write_page
from recbole_painvrl.tuning.places import Places
from recbole_painvrl.tuning.plan import Plan, Search, plan
from recbole_painvrl.tuning.record import Record, is_search, ranked, read
from recbole_painvrl.tuning.results import OUTPUT_FILE, best_table, write_text
from recbole_painvrl.tuning.schedule import TrialSchedule, log_of


def run_search(search: Search, places: Places) -> Record:
    """Makes every trial of a search that is not done, prints the best, and trains and tests the winner.

    Args:
        search: What to search.
        places: Where.

    Returns:
        The records; ``winner`` is None if every trial failed.

    Raises:
        UserError: Something in the command is at fault, or another process works on this search.
        Stopped: The user stopped it; it can be continued.
    """
    places.check()
    planned = plan(search)
    planned.record.places = places.kept()
    with opened(planned):
        _announce(planned)
        _make_trials(planned, places)
        _report(planned)
        _finish(planned, places)
    return planned.record


@contextmanager
def opened(planned: Plan, waits: bool = False) -> Iterator[None]:
    """Keeps other processes out of a search's folder meanwhile, and takes over what it holds.

    Args:
        planned: The search.
        waits: Whether to wait for another process that works on it.

    Raises:
        UserError: It cannot be written, or another process works on it that is not waited for.
    """
    record, owner = planned.record, RunFolder(planned.record.path)
    if waits:
        _claim_in_turn(owner)
    else:
        owner.claim()
    try:
        recall(planned)
        record.write()
        try:
            yield
        finally:
            with suppress(UserError):  # it shows the records, which say themselves where they cannot be written
                write_page(planned.counted, planned.space, planned.bigger, planned.base["valid_metric"].lower())
    finally:
        owner.release()


def recall(planned: Plan) -> None:
    """Takes over what a search's folder holds, if it was begun before.

    Raises:
        UserError: The folder is damaged.
    """
    if is_search(planned.record.path):
        planned.take_over(read(planned.record.path))


def _claim_in_turn(folder: RunFolder) -> None:
    told = False
    while True:
        try:
            folder.claim()
            return
        except Busy:
            if not told:
                print(f"{folder.path}: {folder.owner or 'another process'} works on it; waiting", file=sys.stderr)
            told = True
            time.sleep(POLL_SECONDS)


def resume_search(folder: str | Path, keys: Mapping[str, str], trials: int | None, places: Places) -> Record:
    """Continues the search in ``folder``; return value as :func:`run_search`.

    Args:
        folder: The search's folder.
        keys: Keys to change, such as ``show_progress``; only those that cannot change a number.
        trials: How many trials there are to be; None for as many as before.
        places: Where to make them; what is None is as it was.

    Raises:
        UserError: There is none, or its command would make another search by now.
    """
    record = read(folder)
    search = Search.recorded(record)
    search = replace(search, keys={**search.keys, **keys}, trials=trials or search.trials)
    if plan(search).record.path.resolve() != Path(folder).resolve():
        cause = f"by {', '.join(keys)}" if keys else "by its configuration files or data, which are others now"
        raise UserError(
            f"{folder}: the trials would be others {cause}; it can only be continued as it was, from the folder where "
            "it was started"
        )
    return run_search(search, places.after(record))


def _announce(planned: Plan) -> None:
    how = f"{planned.search.tool}, {planned.search.algorithm}"
    print(f"search: {planned.record.path} ({how}, {planned.n_trials} trials on validation)", file=sys.stderr)
    there = len(planned.record.trials)
    if there > planned.n_trials:
        print(f"  {there} trials are there; the first {planned.n_trials} count", file=sys.stderr)
    for parameter in planned.space:
        print(f"  {parameter.name}: {parameter.shown()}", file=sys.stderr)


def _make_trials(planned: Plan, places: Places) -> None:
    on_ray = planned.search.tool == "Ray"
    runner = None if on_ray else local_runner(planned.n_trials, places.parallel, [planned.base.plain()])
    with Stop(at_once=runner is None or not runner.live) as stop:
        try:
            if runner is None:
                from recbole_painvrl.tuning.on_ray import make_trials

                make_trials(planned, places)
            else:
                TrialSchedule(planned, runner, stop).run()
        except KeyboardInterrupt:
            raise _stopped(planned, stop.status) from None


def _stopped(planned: Plan, status: int) -> Stopped:
    done = sum(trial.state in ("done", "stopped") for trial in planned.counted.trials)
    path = planned.record.path
    return Stopped(f"interrupted ({done} of {planned.n_trials} trials done); continue with --resume={path}", status)


def _report(planned: Plan) -> None:
    record = planned.counted
    if ranked(record.trials, planned.bigger):
        print(best_table(record, planned.bigger, planned.base["valid_metric"].lower()))
    failed = [trial for trial in record.trials if trial.state == "failed"]
    if failed:
        print(f"{len(failed)} of {len(record.trials)} trials failed:", file=sys.stderr)
        for trial in failed:
            print(f"  trial {trial.number}: {trial.error}{log_of(planned, trial)}", file=sys.stderr)


def _finish(planned: Plan, places: Places) -> None:
    """Makes an ordinary run of the best trial's parameters, and writes what was found."""
    record = planned.record
    best = next(iter(ranked(planned.counted.trials, planned.bigger)), None)
    if best is None:
        record.winner = None
        record.write()
        return
    config = planned.search.configuration(best.parameters)
    folder = run_folder(config)
    try:
        execute(config, continued=folder if RunFolder(folder).started else None)
    except KeyboardInterrupt as interruption:
        raise _stopped(planned, getattr(interruption, "status", 130)) from None
    result = read_result(RunFolder(folder))
    found = {key: result[key] for key in ("best_valid_score", "test_result", "test_results")}
    record.winner = {
        "number": best.number,
        "parameters": best.parameters,
        "score": best.score,
        "folder": str(folder),
        "result": found,
    }
    record.write()
    write_text(planned.counted, places.output_file or record.path / OUTPUT_FILE, planned.bigger)
    print(summary_table([result]))
    print(f"winner: trial {best.number}, {folder}", file=sys.stderr)
    print(f"search: {record.path}", file=sys.stderr)

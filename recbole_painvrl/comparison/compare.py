"""The comparison command: plan, run what is missing, one table, a status."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_painvrl.comparison.cores import wanted_threads
from recbole_painvrl.comparison.local import local_runner, wants_gpu
from recbole_painvrl.comparison.plan import Command, Task, plan
from recbole_painvrl.comparison.progress import Progress
from recbole_painvrl.comparison.record import FILE, Cell, Record, read
from recbole_painvrl.comparison.schedule import Runner, Schedule
from recbole_painvrl.comparison.stop import Stop, Stopped
from recbole_painvrl.comparison.worker import LOG
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.summary import read_result, summary_table
from recbole_painvrl.tuning.equal import Cells, recorded, rows, tune
from recbole_painvrl.tuning.overall import trial_seconds


def compare(command: Command, parallel: str | None = None, address: str | None = None) -> Record:
    """Makes every run of a command that is not done, continues those that were interrupted, and prints a table.

    A run that fails is reported, and the others go on.

    Args:
        command: What to run.
        parallel: How many at once, or ``ray``; None for a number that suits the machine. 1 means in this process.
        address: Address of a Ray cluster; not None means ``ray``.

    Returns:
        The comparison; each cell says what became of its run.

    Raises:
        UserError: Something in the command is at fault; then nothing has been run.
        Stopped: The user stopped it; it can be continued.
    """
    asked = _asked(parallel, address)
    record, tasks = plan(command)  # before tuning too, for the mistakes
    if command.tune:
        tuned = tune(command, lambda trials: _runner(asked, address, trials))
        record, tasks = _plan(command, tuned)
    return _run(record, tasks, asked, address)


def _plan(command: Command, tuned: Cells) -> tuple[Record, list[Task]]:
    parameters = {cell: found.parameters for cell, found in tuned.items()}
    untuned = {cell: (found.search, found.error) for cell, found in tuned.items() if found.error}
    record, tasks = plan(command, parameters, untuned)
    record.tuned = rows(tuned)
    return record, tasks


def _run(record: Record, tasks: list[Task], asked: int | str | None, address: str | None) -> Record:
    if tasks:  # none where tuning has failed for all
        _work_off(record, tasks, _runner(asked, address, tasks))
    results = _results(tasks)
    record.write()
    _print_table(record, tasks, results)
    return record


def resume_comparison(
    folder: str | Path, keys: Mapping[str, str], parallel: str | None = None, address: str | None = None
) -> Record:
    """Continues the comparison in ``folder``; arguments and return value as :func:`compare`.

    What tuning found is not looked for again: the comparison has its parameters. Where it found nothing the runs have
    failed, which only the command itself tries again.

    Args:
        folder: The comparison's folder.
        keys: Keys to change, such as ``show_progress``; only those that cannot change a number.
        parallel: As for :func:`compare`.
        address: As for :func:`compare`.

    Raises:
        UserError: There is none, or its command would make other runs by now.
    """
    asked = _asked(parallel, address)
    former = read(folder)
    stored = Command.recorded(former.command, former.path / FILE)
    command = replace(stored, keys={**stored.keys, **keys})
    record, tasks = _plan(command, recorded(stored, former) if stored.tune else {})
    if record.path.resolve() != Path(folder).resolve():
        cause = f"by {', '.join(keys)}" if keys else "by its configuration files or data, which are others now"
        raise UserError(
            f"{folder}: the runs would be others {cause}; it can only be continued as it was, from the folder where it "
            "was started"
        )
    return _run(record, tasks, asked, address)


def is_comparison(folder: str | Path) -> bool:
    """Returns whether ``folder`` is a comparison's, not a run's."""
    return (Path(folder) / FILE).is_file()


def _asked(parallel: str | None, address: str | None) -> int | str | None:
    """Returns the number of runs at once, ``ray``, or None if nothing is said."""
    if parallel == "ray" or (address and parallel is None):
        return "ray"
    if parallel is not None and not (parallel.isdecimal() and int(parallel) > 0):
        raise UserError(f"--parallel: expected a number of at least 1, or ray, but got '{parallel}'")
    if address:
        raise UserError(f"--address is for a Ray cluster; leave out --parallel={parallel} or say --parallel=ray")
    return None if parallel is None else int(parallel)


def _runner(asked: int | str | None, address: str | None, tasks: Sequence[Task]) -> Runner:
    settings = [task.settings for task in tasks]
    if asked == "ray":
        from recbole_painvrl.comparison.on_ray import OnRay

        return OnRay(address, wanted_threads() or 1, wants_gpu(settings))
    missing = any(not RunFolder(task.folder).finished for task in tasks)
    return local_runner(len(tasks), None if asked is None else int(asked), settings, missing)


def _work_off(record: Record, tasks: Sequence[Task], runner: Runner) -> None:
    progress = Progress(tasks, runner.slots, sys.stderr, runner.live, estimates=trial_seconds(record.tuned))
    with Stop(at_once=not runner.live) as stop:
        try:
            Schedule(record, tasks, runner, progress, stop).run()
        except KeyboardInterrupt:
            text = f"interrupted ({progress.counts()}); continue with --resume={record.path}"
            raise Stopped(text, stop.status) from None


def _results(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Returns the results of all runs that are done; a run whose result is damaged has failed."""
    results = []
    for task in tasks:
        if task.cell.state == "done":
            try:
                results.append(read_result(RunFolder(task.folder)))
            except UserError as error:
                task.cell.state, task.cell.error = "failed", str(error)
    return results


def _print_table(record: Record, tasks: Sequence[Task], results: Sequence[Mapping[str, Any]]) -> None:
    if results:
        print(summary_table(results))
    failed = [cell for cell in record.cells if cell.state != "done"]
    for cell in failed:
        print(f"{_place(cell)}  {cell.state}: {cell.error or 'it was told to end'}")
    if failed:
        folders = {task.cell.folder: task.folder for task in tasks}
        print(f"{len(failed)} of {len(record.cells)} runs failed:", file=sys.stderr)
        for cell in failed:
            log = folders.get(cell.folder, record.path) / LOG
            seen = f" (see {log})" if os.path.isfile(log) else ""
            print(f"  {cell.name}: {cell.error or cell.state}{seen}", file=sys.stderr)
    print(f"comparison: {record.path}", file=sys.stderr)


def _place(cell: Cell) -> str:
    return f"{cell.dataset}  {cell.model}  seed {cell.seed}"

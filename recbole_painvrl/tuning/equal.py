"""The same tuning budget for every model of a comparison: as many random trials, each from its own space."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from recbole_painvrl.comparison.in_process import InProcess
from recbole_painvrl.comparison.plan import Command, Task
from recbole_painvrl.comparison.record import ADVICE, FILE, Record
from recbole_painvrl.comparison.schedule import Runner
from recbole_painvrl.comparison.stop import Stop, Stopped
from recbole_painvrl.config import Config
from recbole_painvrl.config_keys import properties_folder, read_yaml, tuned_file
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import configure
from recbole_painvrl.shapes import NUMBER, check_shape
from recbole_painvrl.tuning.overall import Overall
from recbole_painvrl.tuning.plan import Plan, Search, plan
from recbole_painvrl.tuning.record import Trial, ranked
from recbole_painvrl.tuning.schedule import TrialSchedule, shown
from recbole_painvrl.tuning.search import opened, recall
from recbole_painvrl.tuning.trial import TrialFolder

UNTUNED = "tuned_defaults"
_ROW = {
    "model": str,
    "dataset": str,
    "trials": int,
    "search": str,
    "number": int,
    "score": NUMBER,
    "parameters": {"": object},
}
_FAILED = {key: _ROW[key] for key in ("model", "dataset", "trials", "search")} | {"error": str}
Cells = dict[tuple[str | None, str | None], "Tuned"]


@dataclass(frozen=True)
class Tuned:
    """What tuning found for a model on a data set.

    Attributes:
        model: Name of the model.
        dataset: Name of the data set.
        trials: How many trials there were.
        search: The search's folder.
        number: The best trial's; None if all failed.
        score: Its validation score; None if all failed.
        parameters: Its parameters, which count for all seeds.
        error: Why there is none, if all trials failed.
    """

    model: str
    dataset: str
    trials: int
    search: str
    number: int | None = None
    score: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def tune(command: Command, runner_of: Callable[[list[Task]], Runner]) -> Cells:
    """Returns for every model and data set of a command the best of the first ``command.tune`` trials.

    A search of more trials that was made before gives no model an advantage, nor does what a search on the data set
    chose for it (``tuned_defaults``). Trials have the first seed. A key that the command line or a configuration file
    names is not searched. Where all trials of a model fail the others go on; the same command tries them again.

    Args:
        command: The command.
        runner_of: Returns what makes the given trials.

    Raises:
        UserError: A model has no space, or every key of it is given.
        Stopped: The user stopped it; the same command continues.
    """
    plans = {
        (model, dataset): _plan(command, model, dataset) for dataset, model in product(command.datasets, command.models)
    }
    for planned in plans.values():
        recall(planned)  # to know from the beginning how much there is to do
    overall = Overall(list(plans.values()), len(command.seeds))
    return {cell: _tuned(planned, runner_of, overall) for cell, planned in plans.items()}


def recorded(command: Command, record: Record) -> Cells:
    """Returns what :func:`tune` returned when a ``comparison.json`` was written.

    Args:
        command: The command in it.
        record: All of it.

    Raises:
        UserError: Its ``tuned`` is damaged, or is not of this command.
    """
    file, cells = record.path / FILE, list(product(command.datasets, command.models))
    check_shape(file, {"tuned": record.tuned}, {"tuned": [Mapping]}, ADVICE)
    if len(record.tuned) != len(cells):
        raise UserError(f"{file}: expected {len(cells)} rows under tuned, found {len(record.tuned)}; {ADVICE}")
    for row in record.tuned:
        check_shape(f"{file}, tuned", row, _shape(row), ADVICE)
    found = [Tuned(**{key: row[key] for key in _shape(row)}) for row in record.tuned]
    return {(model, dataset): row for (dataset, model), row in zip(cells, found, strict=True)}


def _shape(row: Mapping[str, Any]) -> dict[str, Any]:
    return _ROW if row.get("error") is None else _FAILED


def rows(cells: Mapping[tuple[str | None, str | None], Tuned]) -> list[dict[str, Any]]:
    """Returns the same as plain data."""
    return [asdict(tuned) for tuned in cells.values()]


def _plan(command: Command, model: str | None, dataset: str | None) -> Plan:
    config = configure(model, dataset, command.config_files, command_line=command.keys)
    file = properties_folder() / "search" / f"{config['model']}.hyper"
    if not file.is_file():
        there = ", ".join(path.stem for path in sorted(file.parent.glob("*.hyper")))
        raise UserError(
            f"--tune: there is no search space for {config['model']}, but for {there}; leave the model out, or search "
            "it on its own with --params_file"
        )
    given = set(command.keys).union(*(read_yaml(one) for one in command.config_files))
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.split(" ", 1)[0] not in given]
    if not any(line.partition("#")[0].strip() for line in lines):
        raise UserError(
            f"--tune: every key of {file.name} is given on the command line or in a configuration file, so nothing of "
            f"{config['model']} is left to tune; run it without --tune, or leave one of the keys to the search"
        )
    search = Search(
        model,
        dataset,
        command.seeds[0],
        command.config_files,
        {**command.keys, **_untuned(config, given)},
        file.name,
        "\n".join(lines),
        trials=command.tune,
    )
    return plan(search)


def _untuned(config: Config, given: Collection[str]) -> dict[str, str]:
    """Returns the key that leaves out what an earlier search chose; nothing where there is nothing to leave out."""
    there = tuned_file(config["model"], config["dataset"]).is_file()
    return {UNTUNED: "False"} if there and UNTUNED not in given else {}


def _tuned(planned: Plan, runner_of: Callable[[list[Task]], Runner], overall: Overall) -> Tuned:
    model, dataset = planned.base["model"], planned.base["dataset"]
    print(f"tuning {model} on {dataset}: {planned.n_trials} trials in {planned.record.path}", file=sys.stderr)
    with opened(planned, waits=True):
        _make_trials(planned, runner_of, overall)
    trials = planned.counted.trials
    best, path = next(iter(ranked(trials, planned.bigger)), None), str(planned.record.path)
    if best is None:
        print(f"{model} on {dataset} is not tuned: all trials failed", file=sys.stderr)
        return Tuned(model, dataset, len(trials), path, error=f"all trials failed, the first one by: {trials[0].error}")
    print(f"tuned {model} on {dataset}: {shown(best.score)} by {best.parameters}", file=sys.stderr)
    left_out = {} if planned.base[UNTUNED] else {UNTUNED: False}
    return Tuned(model, dataset, len(trials), path, best.number, best.score, {**best.parameters, **left_out})


def _make_trials(planned: Plan, runner_of: Callable[[list[Task]], Runner], overall: Overall) -> None:
    trials = [Trial(number, {}, folder=f"trials/{number}") for number in range(planned.n_trials)]
    done = all(TrialFolder(Path(planned.record.path, trial.folder)).finished for trial in trials)
    runner = InProcess() if done else runner_of([planned.task(trial) for trial in trials])
    overall.begin(planned, runner.slots)
    if not done:
        print(overall.line(), file=sys.stderr, flush=True)
    with Stop(at_once=not runner.live) as stop:
        try:
            TrialSchedule(planned, runner, stop, overall).run()
        except KeyboardInterrupt:
            raise Stopped("interrupted while tuning; the same command continues", stop.status) from None

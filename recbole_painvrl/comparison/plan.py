"""From a command to its runs; whatever is wrong in the command is found here, before anything trains."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from recbole_painvrl.comparison.record import ADVICE, FILE, Cell, Record, comparison_folder, named_from
from recbole_painvrl.config import data_files
from recbole_painvrl.data.contents import check_same_data
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import run_folder
from recbole_painvrl.quick_start import configure
from recbole_painvrl.shapes import check_shape

_RECORDED = {
    "models": [str | None],
    "datasets": [str | None],
    "seeds": [int | None],
    "config_files": [str],
    "keys": {"": str},
    "tune": int | None,
}
Parameters = Mapping[tuple[str | None, str | None], Mapping[str, Any]]
Untuned = Mapping[tuple[str | None, str | None], tuple[str, str]]  # the search's folder, and why it found nothing


@dataclass(frozen=True)
class Command:
    """What the command line asked for; what it names twice counts once.

    Attributes:
        models: Names; None for the configuration's.
        datasets: Names; None for the configuration's.
        seeds: Seeds; None for the configuration's.
        config_files: YAML files, which count for every run.
        keys: Raw ``key: value`` of the command line, which count for every run.
        tune: Trials that each model gets on each data set beforehand; None for none.
    """

    models: tuple[str | None, ...]
    datasets: tuple[str | None, ...]
    seeds: tuple[int | None, ...] = (None,)
    config_files: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    tune: int | None = None

    def __post_init__(self) -> None:
        for name in ("models", "datasets", "seeds"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))

    @classmethod
    def recorded(cls, content: Mapping[str, Any], file: str | Path = FILE) -> Command:
        """Returns the command that a ``comparison.json`` holds.

        Args:
            content: What it holds as ``command``.
            file: The file, for messages.

        Raises:
            UserError: A key is missing or damaged.
        """
        check_shape(file, content, _RECORDED, ADVICE)
        if not (content["models"] and content["datasets"] and content["seeds"]):
            raise UserError(f"{file}: expected models, datasets and seeds, found a list without any; {ADVICE}")
        lists = {name: tuple(content[name]) for name in ("models", "datasets", "seeds", "config_files")}
        return cls(**lists, keys=content["keys"], tune=content.get("tune"))


@dataclass(frozen=True, eq=False)
class Task:
    """One run to make, as plain data that can be sent to another process.

    The settings are read once, when all runs are planned: a configuration file that changes meanwhile changes none.

    Attributes:
        cell: The run in the comparison's record.
        folder: The run's folder.
        settings: The complete configuration.
        directory: The working directory that relative paths start from.
        tested: False for a trial of a search, which is trained and validated and never tested.
    """

    cell: Cell
    folder: Path
    settings: dict[str, Any]
    directory: str
    tested: bool = True


def plan(
    command: Command, parameters: Parameters | None = None, untuned: Untuned | None = None
) -> tuple[Record, list[Task]]:
    """Returns the record of the comparison, in which every run is waiting, and the runs themselves.

    Args:
        command: The command.
        parameters: What tuning found for a model on a data set, as ``command`` names both.
        untuned: The same where tuning found nothing: these runs have failed in the record, and are not to be made.

    Raises:
        UserError: A model, a data set, a key or a value is at fault; all such mistakes are named.
    """
    configs: dict[Path, Any] = {}
    errors: dict[Path, str] = {}
    mistakes: list[str] = []
    with _warnings_once():
        for dataset, model, seed in product(command.datasets, command.models, command.seeds):
            keys = command.keys if seed is None else {**command.keys, "seed": str(seed)}
            try:
                found = (parameters or {}).get((model, dataset))
                config = configure(model, dataset, command.config_files, found, keys)
                if search := (untuned or {}).get((model, dataset)):
                    folder = _no_run(search[0], config)
                    errors[folder] = search[1]
                else:
                    folder = run_folder(config)
                check_same_data(folder, data_files(config))
                configs.setdefault(folder, config)
            except UserError as error:
                mistakes.append(str(error))
    if mistakes:
        raise UserError("; and ".join(dict.fromkeys(mistakes)))
    path = comparison_folder(next(iter(configs.values()))["output_dir"], list(configs))
    tasks = [
        Task(_cell(path, folder, config), folder, config.plain(), os.getcwd()) for folder, config in configs.items()
    ]
    for task in tasks:
        if task.folder in errors:
            task.cell.state, task.cell.error = "failed", errors[task.folder]
    cells = [task.cell for task in tasks]
    return Record(path, asdict(command), cells), [task for task in tasks if task.folder not in errors]


def _no_run(search: str, config: Any) -> Path:
    """Returns a folder that no run has: the defaults' may hold one of a comparison that was not tuned."""
    return Path(search, "runs", str(config["seed"]))


def _cell(path: Path, folder: Path, config: Any) -> Cell:
    return Cell(config["model"], config["dataset"], config["seed"], named_from(path, folder))


@contextmanager
def _warnings_once() -> Iterator[None]:
    """Shows a warning that every run of a model would repeat only the first time."""
    seen: set[str] = set()

    def first_time(record: logging.LogRecord) -> bool:
        n_before = len(seen)
        seen.add(record.getMessage())
        return len(seen) > n_before

    root = logging.getLogger()
    root.addFilter(first_time)
    try:
        yield
    finally:
        root.removeFilter(first_time)

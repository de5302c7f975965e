"""Finished runs as a report sees them: found below folders, and put together by configuration."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.protocols import NO_VALUE, titles
from recbole_painvrl.report.records import DATA, RunFolder

# Keys that say where, how and with which seed to run, but not what.
_PLACES = """
    seed gpu_id use_gpu device worker data_path output_dir checkpoint_dir dataset_save_path dataloaders_save_path
    show_progress state log_wandb wandb_project loss_decimal_place save_dataset save_dataloaders config_files verbose
"""
PLACE_KEYS = frozenset(_PLACES.split())
LONGEST = 60  # letters of a difference in a name
NEEDED = {"model": str, "dataset": str, "seed": int, "valid_metric": str, "test_results": dict}


class Run:
    """One finished run.

    Args:
        path: Its folder.

    Raises:
        UserError: A file of the folder is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = RunFolder(path)
        self.result = self._folder.read_json("result.json", NEEDED)
        for name, found in self.result["test_results"].items():
            if not isinstance(found, dict) or not all(map(_is_value, found.values())):
                raise UserError(f"{path / 'result.json'}: test_results of {name}: expected a number for each metric")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The complete configuration.

        Raises:
            UserError: Its file is missing or damaged.
        """
        return self._folder.settings()

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        return self._folder.records()

    @cached_property
    def data(self) -> dict[str, Any]:
        """A digest of each data file by its name; empty where none was recorded."""
        return self._folder.read_json(DATA) if (self.path / DATA).exists() else {}

    def records(self, *events: str) -> list[dict[str, Any]]:
        """Returns the recorded events of these names in order, all without a name."""
        return [one for one in self._records if not events or one["event"] in events]

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self.result["seed"])

    @property
    def metric(self) -> str:
        """The metric that decided on validation."""
        return str(self.result["valid_metric"])

    @property
    def bigger(self) -> bool:
        """Whether larger values of :attr:`metric` are better."""
        return bool(self.result.get("valid_score_bigger", True))

    @property
    def data_folder(self) -> Path:
        """Where its data were when it ran."""
        return Path(str(self.config.get("data_path") or "."), self.result["dataset"])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What makes two runs the same but for their seed."""
        return {key: value for key, value in self.config.items() if key not in PLACE_KEYS and value is not None}

    @cached_property
    def comparable(self) -> dict[str, str]:
        """The settings as texts, equal where the values are: 0 and 0.0 are one number, ``False`` is none."""
        return {
            key: json.dumps(_whole(value), sort_keys=True, default=str) for key, value in sorted(self.settings.items())
        }


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, int | float)  # what was not finite is null in a file


def _whole(value: Any) -> Any:
    """Returns ``value`` with each whole number in it as an integer, however it was written."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    return {str(key): _whole(entry) for key, entry in value.items()} if isinstance(value, dict) else value


@dataclass(frozen=True)
class Configuration:
    """The runs that differ in nothing but their seed.

    Attributes:
        dataset: Name of the data set; where its runs cannot all be compared, with the protocol of these.
        model: Name of the model.
        differs: How it differs from the others of this model on this data set, such as ``env_level=session``; empty
            for an only one.
        runs: Its runs by seed, at least one.
        doubles: Runs that are left out, each with the one of the same seed that was kept.
    """

    dataset: str
    model: str
    differs: str
    runs: tuple[Run, ...]
    doubles: tuple[tuple[Run, Run], ...] = ()

    @property
    def name(self) -> str:
        """Model and difference, the latter cut where it is long."""
        return (
            f"{self.model} ({textwrap.shorten(self.differs, LONGEST, placeholder=' ...')})"
            if self.differs
            else self.model
        )

    @property
    def title(self) -> str:
        """Model and data set, for the title of a picture."""
        return f"{self.model} on {self.dataset}"


def find_runs(folders: Iterable[str | Path]) -> tuple[list[Run], list[Path]]:
    """Returns the finished runs in and below ``folders``, and the folders of those that are not finished.

    Raises:
        UserError: A folder does not exist or holds no run, or none is finished.
    """
    return read_runs([path for folder in folders for path in run_folders(Path(folder))])


def read_runs(found: Iterable[Path]) -> tuple[list[Run], list[Path]]:
    """Returns the finished runs of these run folders, and the folders of those that are not finished.

    Raises:
        UserError: None is finished, or a file is damaged.
    """
    paths = {path.resolve(): path for path in found}
    done = [path for path in paths.values() if RunFolder(path).finished]
    waiting = [path for path in paths.values() if not RunFolder(path).finished]
    if not done:
        raise UserError(f"{waiting[0]}: no run here is finished; continue it with --resume={waiting[0]}")
    return [Run(path) for path in done], waiting


def run_folders(folder: Path, closed: dict[Path, str] | None = None) -> list[Path]:
    """Returns the folders of runs in and below ``folder``.

    Args:
        folder: Where to look.
        closed: Takes the folders that cannot be looked into, and why.

    Raises:
        UserError: There is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder; name folders of runs, such as runs/ml-100k/PaInvRL/1-...")
    # os.walk, as folders may go while this looks: Path.rglob of Python 3.11 raises an error then
    needed = {"config.yaml", "records.jsonl"}
    errors: list[OSError] = []
    found = sorted(Path(place) for place, _, files in os.walk(folder, onerror=errors.append) if needed.issubset(files))
    if closed is not None:
        closed |= {Path(one.filename): str(one.strerror) for one in errors if not isinstance(one, FileNotFoundError)}
    if not found:
        raise UserError(f"{folder}: neither this folder nor one below it holds a run (config.yaml and records.jsonl)")
    return found


def configurations(runs: Sequence[Run]) -> list[Configuration]:
    """Returns the runs put together by data set, model and configuration, in the order of these names.

    Runs of one data set that cannot be compared are put apart, as if they were of several. Of runs that differ in
    nothing, the seed included, the first is kept: the same run twice is not two seeds.
    """
    cells: dict[tuple[str, str], dict[tuple[tuple[str, str], ...], list[Run]]] = {}
    for dataset, run in _titled(runs):
        cell = cells.setdefault((dataset, run.result["model"]), {})
        cell.setdefault(tuple(run.comparable.items()), []).append(run)
    return [
        Configuration(dataset, model, differs, *_by_seed(same))
        for (dataset, model), cell in sorted(cells.items())
        for differs, same in sorted(_named(list(cell.values())), key=lambda pair: pair[0])
    ]


def _titled(runs: Sequence[Run]) -> Iterator[tuple[str, Run]]:
    """Yields each run with the name under which it and those that it can be compared with are reported."""
    datasets: dict[str, list[Run]] = {}
    for run in runs:
        datasets.setdefault(run.result["dataset"], []).append(run)
    for dataset, of_one in datasets.items():
        yield from zip(titles(dataset, [(run.comparable, run.data) for run in of_one]), of_one, strict=True)


def _by_seed(runs: Sequence[Run]) -> tuple[tuple[Run, ...], tuple[tuple[Run, Run], ...]]:
    """Returns the first run of each seed, and each further one with it."""
    by_seed: dict[int, Run] = {}
    for run in runs:
        by_seed.setdefault(run.seed, run)
    doubles = tuple((run, by_seed[run.seed]) for run in runs if by_seed[run.seed] is not run)
    return tuple(by_seed[seed] for seed in sorted(by_seed)), doubles


def _named(groups: Sequence[Sequence[Run]]) -> Iterator[tuple[str, Sequence[Run]]]:
    """Returns each group of runs after the settings in which it differs from another one, as text."""
    settings = [group[0].comparable for group in groups]
    keys = sorted({key for one in settings for key in one if any(one[key] != other.get(key) for other in settings)})
    for group in groups:
        yield ", ".join(f"{key}={_shown(group[0].settings, key)}" for key in keys), group


def _shown(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key)
    return NO_VALUE if value is None else str(value)

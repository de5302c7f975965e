"""What a report is made of: folders of runs, folders above them, and comparisons with the cells that failed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import Run, read_runs, run_folders

COMPARISON = "comparison.json"
NEEDED = ("model", "dataset", "seed", "folder", "state")
PARENTS = 3  # folders above a comparison's own that its cells may be named from


@dataclass(frozen=True)
class Failure:
    """Runs of a comparison that have no result.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        seeds: The seeds that ended this way.
        reason: Such as ``failed: out of memory``, or the state of a cell that is not finished.
        folders: The runs' folders, as far as they exist.
    """

    dataset: str
    model: str
    seeds: tuple[int, ...]
    reason: str
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        runs: Finished runs.
        waiting: Folders of runs that are not finished.
        failures: Cells of comparisons without a result.
        closed: Folders that cannot be looked into, and why.
    """

    runs: list[Run]
    waiting: list[Path]
    failures: list[Failure]
    closed: dict[Path, str]


def find(folders: Iterable[str | Path]) -> Found:
    """Returns what is in and below ``folders``; a folder with a ``comparison.json`` stands for the runs it names.

    Raises:
        UserError: A folder does not exist or holds no run, none is finished, or a file is damaged.
    """
    paths: list[Path] = []
    closed: dict[Path, str] = {}
    cells: list[tuple[Mapping[str, Any], Path]] = []
    for folder in map(Path, folders):
        if (folder / COMPARISON).is_file():
            cells += [(cell, _folder(folder, cell["folder"])) for cell in _cells(folder / COMPARISON)]
        else:
            paths += run_folders(folder, closed)
    done = [path for _, path in cells if RunFolder(path).finished]
    failures = _failures([(cell, path) for cell, path in cells if not RunFolder(path).finished])
    if not done and not paths and failures:
        raise UserError(f"{failures[0].model} on {failures[0].dataset}: {failures[0].reason}; no run here is finished")
    runs, waiting = read_runs([*paths, *done])
    named = {path.resolve() for one in failures for path in one.folders}
    return Found(runs, [path for path in waiting if path.resolve() not in named], failures, closed)


def _cells(file: Path) -> list[Mapping[str, Any]]:
    try:
        cells: list[Mapping[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["cells"]
        missing = {key for cell in cells for key in NEEDED if key not in cell}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); expected the file of a comparison") from error
    if missing or not cells or not all(map(_is_cell, cells)):
        raise UserError(f"{file}: expected `cells` with {', '.join(NEEDED)}; compare again with this version")
    return cells


def _is_cell(cell: Mapping[str, Any]) -> bool:
    return isinstance(cell["seed"], int) and isinstance(cell["folder"], str)


def _folder(comparison: Path, name: str) -> Path:
    """Returns the folder of a cell, named from the comparison's own folder or from one above it."""
    own = comparison.resolve()
    places = [place / name for place in (own, *own.parents[:PARENTS])]  # an absolute name stays as it is
    return next((place for place in places if os.path.isfile(place / "config.yaml")), places[-1])


def _failures(cells: Sequence[tuple[Mapping[str, Any], Path]]) -> list[Failure]:
    """Puts the cells of one model together that ended for the same reason."""
    same: dict[tuple[str, str, str], list[tuple[int, Path]]] = {}
    for cell, path in cells:
        key = (str(cell["dataset"]), str(cell["model"]), _reason(cell))
        same.setdefault(key, []).append((int(cell["seed"]), path))
    return [
        Failure(dataset, model, tuple(sorted(seed for seed, _ in ends)), reason, _existing(path for _, path in ends))
        for (dataset, model, reason), ends in same.items()
    ]


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if os.path.isdir(path))


def _reason(cell: Mapping[str, Any]) -> str:
    error = " ".join(str(cell.get("error") or "").split())
    if cell["state"] == "failed" or error:
        return f"failed: {error or 'no reason was recorded'}"
    return "its folder holds no finished run" if cell["state"] == "done" else f"not finished: {cell['state']}"

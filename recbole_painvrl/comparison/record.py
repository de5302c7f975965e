"""``comparison.json``: what a comparison was asked for, and how far each of its runs is.

``<output_dir>/comparisons/<hash of its runs>/comparison.json`` is written anew, atomically, whenever a run changes its
state, so it is whole at any time, also after a kill::

    {"models": ["ERM", ...], "datasets": ["tiktok", ...], "seeds": [1, ...],        in the order of the command
     "command": {"models": [...], "datasets": [...], "seeds": [...], "config_files": [...], "keys": {...},
                 "tune": null},
     "tuned": [],        with "tune": what was found for each model and data set, in the order of data sets, then models
                         (where all trials failed, "error" says why, and the cells have failed without a run)
     "cells": [{"model": "ERM", "dataset": "tiktok", "seed": 1, "folder": "runs/tiktok/ERM/1-0a1b2c3d",
                "state": "done", "error": null}, ...]}

``folder`` is relative to the folder that holds ``output_dir`` (three levels above the comparison's own), so both can be
moved together; it is absolute where a run lies elsewhere. ``state`` is ``waiting running done failed interrupted``;
``error`` says in one line why a run failed, and is null otherwise. A state may be older than the run's folder: after a
kill the runs of that moment still say ``running``. Whether a run is finished, its own ``done`` says. ``command`` has
null where the command line named nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file

FILE = "comparison.json"
ADVICE = "the command that made this comparison makes the file anew"


@dataclass
class Cell:
    """One run of a comparison.

    Attributes:
        model: Name of the model.
        dataset: Name of the data set.
        seed: The seed.
        folder: The run's folder, as ``comparison.json`` names it.
        state: ``waiting``, ``running``, ``done``, ``failed`` or ``interrupted``.
        error: Why it failed, in one line.
    """

    model: str
    dataset: str
    seed: int
    folder: str
    state: str = "waiting"
    error: str | None = None

    @property
    def name(self) -> str:
        """Data set, model and seed, for messages."""
        return f"{self.dataset} {self.model} {self.seed}"


@dataclass
class Record:
    """The content of a ``comparison.json``.

    Attributes:
        path: The comparison's folder.
        command: What was asked for.
        cells: The runs, in the order of the command.
        tuned: What tuning found, one row a model and data set in the order of the command; empty without ``tune``.
            Where all trials failed, ``error`` says why.
    """

    path: Path
    command: dict[str, Any]
    cells: list[Cell]
    tuned: list[dict[str, Any]] = field(default_factory=list)

    def run_folder(self, cell: Cell) -> Path:
        """Returns the folder of the run of ``cell``."""
        return root_of(self.path) / cell.folder

    def count(self, *states: str) -> int:
        """Returns how many cells are in one of ``states``."""
        counts = Counter(cell.state for cell in self.cells)
        return sum(counts[state] for state in states)

    def write(self) -> None:
        """Writes the file, as a whole or not at all.

        Raises:
            UserError: The folder cannot be written, or the disk is full.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"output_dir: cannot write to {self.path} ({reason}); choose another") from error
        content = {
            "models": list(dict.fromkeys(cell.model for cell in self.cells)),
            "datasets": list(dict.fromkeys(cell.dataset for cell in self.cells)),
            "seeds": list(dict.fromkeys(cell.seed for cell in self.cells)),
            "command": self.command,
            "tuned": self.tuned,
            "cells": [asdict(cell) for cell in self.cells],
        }
        with atomic_file(self.path / FILE) as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())


def read(folder: str | Path) -> Record:
    """Returns the comparison in ``folder``.

    Raises:
        UserError: There is none, or its file is damaged.
    """
    file = Path(folder) / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        cells = [Cell(**cell) for cell in content["cells"]]
        return Record(Path(folder), content["command"], cells, content.get("tuned", []))
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{file}: cannot be read ({reason}); expected the folder of a comparison") from error


def comparison_folder(output_dir: str | Path, folders: Sequence[Path]) -> Path:
    """Returns the folder of the comparison of these runs: the same runs in any order always have the same one."""
    text = "\n".join(sorted("/".join(folder.parts[-3:]) for folder in folders))
    return Path(output_dir) / "comparisons" / hashlib.sha256(text.encode()).hexdigest()[:8]


def root_of(path: Path) -> Path:
    """Returns the folder that the ``folder`` of each cell of the comparison in ``path`` is relative to."""
    return path.resolve().parents[2]


def named_from(path: Path, folder: Path) -> str:
    """Returns what the comparison in ``path`` calls the run in ``folder``."""
    absolute, root = folder.resolve(), root_of(path)
    return str(absolute.relative_to(root)).replace(os.sep, "/") if absolute.is_relative_to(root) else str(absolute)

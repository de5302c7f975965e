"""``search.json`` and ``trials.jsonl``: what a search was asked for, and how far each trial is.

``search.json`` holds the ``command`` (``model dataset seed config_files keys params_file space tool algorithm trials
grace_period``, null where the command line named nothing; ``space`` is the text of ``params_file``), the ``base`` that
says whether its configuration is still the same, ``places`` with those of ``address storage_path max_concurrent cpus
gpus output_file`` that the latest command named, and once it is known the ``winner``: its trial's ``number parameters
score``, and ``folder result`` of the run that was made of it.

``trials.jsonl`` has one line a trial with ``number parameters state score epochs seconds folder error``. ``state`` is
``waiting running done stopped failed interrupted``; ``stopped`` is what ASHA does to a trial that is not promising, and
its ``score`` is the best until then. ``folder`` is relative to the search's own. After a kill the trials of that moment
still say ``running``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file
from recbole_painvrl.report.records import plain
from recbole_painvrl.shapes import NUMBER, check_shape

FILE = "search.json"
TRIALS = "trials.jsonl"
ADVICE = "delete this folder to search anew"
_TRIAL = {
    "number": int,
    "parameters": {"": object},
    "state": str,
    "score": NUMBER | None,
    "epochs": int | None,
    "seconds": NUMBER | None,
    "folder": str,
    "error": str | None,
}
_WINNER = {
    "number": int,
    "parameters": {"": object},
    "folder": str,
}


@dataclass
class Trial:
    """One trial of a search; attributes as in ``trials.jsonl``."""

    number: int
    parameters: dict[str, Any]
    state: str = "waiting"
    score: float | None = None
    epochs: int | None = None
    seconds: float | None = None
    folder: str = ""
    error: str | None = None


@dataclass
class Record:
    """The records of a search.

    Attributes:
        path: Its folder.
        command: What was asked for.
        base: Hash of the configuration that the trials change.
        trials: The trials, by their numbers.
        winner: The best of them and the run made of it, once they are known.
        places: Where the trials are made, as far as a command has said so; None if nothing is known of it.
    """

    path: Path
    command: dict[str, Any]
    base: str
    trials: list[Trial] = field(default_factory=list)
    winner: dict[str, Any] | None = None
    places: Mapping[str, Any] | None = None

    def add(self, parameters: dict[str, Any]) -> Trial:
        """Returns a new trial, which waits."""
        number = len(self.trials)
        self.trials.append(Trial(number, parameters, folder=f"trials/{number}"))
        return self.trials[-1]

    def folder(self, trial: Trial) -> Path:
        """Returns the folder of a trial."""
        return self.path / trial.folder

    def write(self) -> None:
        """Writes ``search.json``.

        Raises:
            UserError: The folder cannot be written, or the disk is full.
        """
        content = {"command": self.command, "base": self.base, "places": self.places, "winner": self.winner}
        with atomic_file(self.path / FILE) as file:
            file.write((json.dumps(plain(content), indent=2) + "\n").encode())

    def write_trials(self) -> None:
        """Writes ``trials.jsonl``, as a whole or not at all."""
        with atomic_file(self.path / TRIALS) as file:
            file.writelines((json.dumps(plain(asdict(trial))) + "\n").encode() for trial in self.trials)


def read(folder: str | Path) -> Record:
    """Returns the search in ``folder``.

    Raises:
        UserError: There is none, or a file is damaged.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        record = Record(folder, content["command"], content["base"], [], content["winner"], content.get("places"))
        if (folder / TRIALS).is_file():
            lines = (folder / TRIALS).read_text(encoding="utf-8").splitlines()
            record.trials = [_trial(folder / TRIALS, number, line) for number, line in enumerate(lines)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{folder}: cannot be read ({reason}); expected the folder of a search") from error
    if record.winner is not None:
        check_shape(folder / FILE, record.winner, _WINNER, ADVICE)
    return record


def _trial(file: Path, number: int, line: str) -> Trial:
    trial = Trial(**json.loads(line))
    check_shape(f"{file}, line {number + 1}", vars(trial), _TRIAL, ADVICE)
    if trial.number != number:
        raise UserError(f"{file}, line {number + 1}: expected trial {number}, found {trial.number}; {ADVICE}")
    return trial


def is_search(folder: str | Path) -> bool:
    """Returns whether ``folder`` is a search's, not a run's."""
    return (Path(folder) / FILE).is_file()


def ranked(trials: Sequence[Trial], bigger: bool) -> list[Trial]:
    """Returns the trials that have a score, the best first: all that are done, then those that were stopped.

    What was stopped comes after, as nobody knows what it would have become; of equals the earlier one is better.
    """
    sign = -1 if bigger else 1
    scored = [trial for trial in trials if trial.state in ("done", "stopped") and trial.score is not None]
    return sorted(scored, key=lambda trial: (trial.state != "done", sign * (trial.score or 0.0), trial.number))

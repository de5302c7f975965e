"""What a search found: the best trials as a table, all of them in the text form of RecBole's searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file
from recbole_painvrl.tuning.ray_trial import reported
from recbole_painvrl.tuning.record import Record, Trial, ranked
from recbole_painvrl.tuning.trial import TrialFolder

BEST = 5
OUTPUT_FILE = "hyper_example.result"


def best_table(record: Record, bigger: bool, metric: str) -> str:
    """Returns the best trials, one a line, with their validation score and parameters."""
    best = ranked(record.trials, bigger)[:BEST]
    names = list(best[0].parameters) if best else []
    rows = [["trial", f"valid {metric}", "epochs", "seconds", "state", *names]]
    rows += [_row(trial, names) for trial in best]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(trial: Trial, names: Sequence[str]) -> list[str]:
    values = [_value(trial.parameters[name]) for name in names]
    return [str(trial.number), f"{trial.score:.4f}", str(trial.epochs), f"{trial.seconds:.0f}", trial.state, *values]


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_text(record: Record, file: str | Path, bigger: bool) -> None:
    """Writes every trial that has a score, the best first, as RecBole's ``HyperTuning.export_result`` does.

    Those that ASHA stopped come last, with what they had reached. Only the winner has a test result.

    Raises:
        UserError: The file cannot be written.
    """
    winner = record.winner or {}
    blocks = []
    for trial in ranked(record.trials, bigger):
        tested = winner["result"]["test_result"] if trial.number == winner.get("number") else None
        blocks.append(_block(trial, *_valid(record.folder(trial), trial, bigger), tested))
    file = Path(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file, "--output_file") as stream:
            stream.write("\n".join(blocks).encode())
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--output_file={file}: cannot be written ({reason}); choose another") from error


def _valid(folder: Path, trial: Trial, bigger: bool) -> tuple[str, Mapping[str, float]]:
    """Returns the title and the best validation result of a trial that is done or was stopped."""
    if trial.state == "done":
        return "Valid result:", TrialFolder(folder).validation()["best_valid_result"]
    epochs = reported(folder)
    events = [event for event in TrialFolder(folder).records("valid") if event["epoch"] in epochs]
    events.sort(key=lambda event: event["score"], reverse=bigger)
    best = events[0]["result"] if events else {}
    return f"Valid result until it was stopped after {trial.epochs} epochs:", best


def _block(trial: Trial, title: str, valid: Mapping[str, float], test: Mapping[str, float] | None) -> str:
    lines = [", ".join(f"{key}:{value}" for key, value in trial.parameters.items()), title, _metrics(valid)]
    return "\n".join(lines + (["Test result:", _metrics(test)] if test else [])) + "\n"


def _metrics(result: Mapping[str, float]) -> str:
    """Returns a result on one line, as RecBole's ``dict2str`` writes it."""
    return "    ".join(f"{metric} : {value}" for metric, value in result.items())

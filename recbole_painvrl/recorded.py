"""Reads what a run has written, which may be damaged or anybody's; without RecBole, as a report is made without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from recbole_painvrl.errors import UserError
from recbole_painvrl.shapes import check_shape

DEEPEST = 50
_MOST_VALUES = 100_000
_MEND = "restore the file, or delete the run's folder and run again"
# What PyYAML raises about a text that is none of its own: values that do not fit their tags bring Python's errors.
_NO_YAML = (
    yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError,
)  # fmt: skip


def bounded(content: Any) -> Any:
    """Returns ``content`` if it ends somewhere: a few lines of YAML with aliases of aliases can stand for millions.

    Raises:
        yaml.YAMLError: Its values hold themselves, or are too many or too deep to be meant.
    """
    waiting, count = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST or count > _MOST_VALUES:
            raise yaml.YAMLError(f"values are nested more than {DEEPEST} deep, or are more than {_MOST_VALUES}")
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(part, depth + 1) for part in parts]
    return content


def read_settings(file: Path) -> dict[str, Any]:
    """Returns the configuration that a run wrote.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        content = bounded(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, *_NO_YAML) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read ({reason}); expected the configuration of a run; {_MEND}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        found = "nothing" if content is None else type(content).__name__
        raise UserError(f"{file}: expected the configuration of a run, lines 'key: value', found {found}; {_MEND}")
    return content


def read_object(file: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the object in a JSON file that a run wrote.

    Args:
        file: The file.
        kinds: The keys that it must have, with the kinds of their values (:func:`.shapes.check_shape`).

    Raises:
        UserError: The file is missing or damaged, or lacks a key.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read ({error}); is this the folder of a run?") from error
    check_shape(file, values, kinds, _MEND)
    found: dict[str, Any] = values
    return found


def read_events(file: Path) -> list[dict[str, Any]]:
    """Returns the events in a run's records, without a last line that a crash cut off; none if there is no file.

    Raises:
        UserError: A line is damaged.
    """
    *lines, _ = file.read_bytes().split(b"\n") if file.exists() else [b""]
    return [_event(file, number, line) for number, line in enumerate(lines, start=1)]


def _event(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            return event
        reason = "no `event` in it"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise UserError(f"{file}: line {number}: expected the record of an event ({reason}); {_MEND}")

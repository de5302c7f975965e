"""The one exception that a user's mistake raises, so that the command line can tell it in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_LONGEST = 1_600  # characters of a message
_LONGEST_NAME = 100


class UserError(Exception):
    """A mistake in a file, a key or a flag that the user can mend.

    The message is one line that says where it is (file, row or key), what was found, what was expected and what to do.
    The command line prints it on standard error and leaves with status 2. What a message quotes may come from anybody's
    file: control characters are escaped, so that it stays one line and cannot steer a terminal, and what would make it
    too long to read is left out of its middle.
    """

    def __init__(self, message: str) -> None:
        escaped = "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in message)
        long = len(escaped) > _LONGEST
        super().__init__(f"{escaped[: _LONGEST // 2]} [...] {escaped[-_LONGEST // 2 :]}" if long else escaped)


def nearest(name: object, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the known name closest to ``name``, or an empty text if none is close.

    A key of a YAML file need not be a text, and may be too long to be compared with anything.
    """
    if len(str(name)) > _LONGEST_NAME:
        return ""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[matches[0]]}'?" if matches else ""


def one_of(key: str, value: Any, known: Sequence[str]) -> str:
    """Returns the value of a key that names one of several ways.

    Raises:
        UserError: if it names none of ``known``.
    """
    if value not in known:
        raise UserError(f"{key} must be one of {', '.join(known)}, but got {value!r}")
    return value


def unreadable(path: str | Path, error: OSError) -> UserError:
    """Returns what to tell the user of a file or folder that the system does not let this process read."""
    return UserError(f"{path}: cannot be read ({error.strerror or error}); look at its permissions and owner")

"""The one exception that a user's mistake raises, so that the command line can tell it in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class UserError(Exception):
    """A mistake in a file, a key or a flag that the user can mend.

    The message is one line that says where it is (file, row or key), what was found, what was expected and what to do.
    The command line prints it on standard error and leaves with status 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the known name closest to ``name``, or an empty text if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[matches[0]]}'?" if matches else ""


def one_of(key: str, value: Any, known: Sequence[str]) -> str:
    """Returns the value of a key that names one of several ways.

    Raises:
        UserError: if it names none of ``known``.
    """
    if value not in known:
        raise UserError(f"{key} must be one of {', '.join(known)}, but got {value!r}")
    return value

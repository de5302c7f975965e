"""Whether what a file holds has the keys and the kinds of values that its reader goes by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError

NUMBER = int | float


def check_shape(file: str | Path, content: Any, needed: Mapping[str, Any], advice: str) -> None:
    """Makes sure that a file's content has all needed keys with values of their kinds.

    Args:
        file: The file, for messages.
        content: What it holds, or the part of it that is looked at.
        needed: Kinds by key: a type or union of types, ``[kind]`` for a list and ``{"": kind}`` for a mapping of such.
            What may be None may be missing.
        advice: What the user is to do.

    Raises:
        UserError: The content is no mapping, or a key is missing or of another kind.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: expected keys and values, found {content!r}; {advice}")
    for key, kind in needed.items():
        if not _is(content.get(key), kind):
            found = repr(content[key]) if key in content else "nothing"
            raise UserError(f"{file}: expected {key}: {_named(kind)}, found {found}; {advice}")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list | tuple) and all(_is(one, kind[0]) for one in value)
    if isinstance(kind, dict):
        return isinstance(value, Mapping) and all(_is(one, kind[""]) for one in value.values())
    return isinstance(value, kind)


def _named(kind: Any) -> str:
    if isinstance(kind, list):
        return f"a list of {_named(kind[0])}"
    if isinstance(kind, dict):
        return f"a mapping to {_named(kind[''])}"
    return getattr(kind, "__name__", None) or str(kind).replace(" | ", " or ")

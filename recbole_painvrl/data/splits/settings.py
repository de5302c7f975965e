"""The key ``ood_split``: a kind of split, and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recbole_painvrl.errors import UserError, nearest, one_of

COMMON: dict[str, Any] = {
    "seed": 2023,
    "validation_share": 0.0,
    "cold_users": "drop",
    "sets": ["train", "valid", "test"],
}
_FEATURES: dict[str, Any] = {"modality": None, "modalities": None}
KINDS: dict[str, dict[str, Any]] = {
    "popularity": {"share": 0.2, "cap": 0.5},
    "time": {"share": 0.2},
    "feature_cluster": {"share": 0.2, "clusters": 10, "keep": 0.1, **_FEATURES},
    "cold_items": {"share": 0.2, "candidates": "all"},
    "cold_clusters": {"share": 0.2, "clusters": 10, "candidates": "all", **_FEATURES},
    "group": {"field": None, "values": None, "keep": None},
    "environment": {"field": None, "values": None, "environments": 4, **_FEATURES},
}
COLD_KINDS = ("cold_items", "cold_clusters")
CANDIDATES = ("all", "new")
COLD_USERS = ("drop", "keep")


def resolve_split(given: Any) -> dict[str, Any] | None:
    """Completes the key ``ood_split``.

    Args:
        given: Its value: None for no such split, the name of a kind, or a mapping with ``kind`` and more.

    Returns:
        ``kind``, every key of :data:`COMMON` and every key that :data:`KINDS` lists for the kind; None for None.

    Raises:
        UserError: A kind, key or value is not known.
    """
    if given is None:
        return None
    given = {"kind": given} if isinstance(given, str) else given
    if not isinstance(given, Mapping) or "kind" not in given:
        raise UserError(f"ood_split: {given!r} is no kind ({', '.join(KINDS)}) and no mapping such as {{kind: time}}")
    kind = given["kind"]
    if kind not in KINDS:
        raise UserError(f"ood_split.kind: {kind!r} is none of {', '.join(KINDS)}.{nearest(str(kind), KINDS)}")
    known = {**KINDS[kind], **COMMON}
    for key in given:
        if key not in known and key != "kind":
            what = f"kind {kind} takes {', '.join(known)}"
            raise UserError(f"ood_split: unknown key {key!r}; {what}.{nearest(str(key), known)}")
    settings = {"kind": kind, **known, **given}
    _check(settings)
    return settings


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _sets(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and set(value) <= set(COMMON["sets"])


RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "share": ("a number above 0 and below 1", lambda value: _is_number(value) and 0 < value < 1),
    "cap": ("a number above 0, up to 1", lambda value: _is_number(value) and 0 < value <= 1),
    "keep": ("a number from 0, below 1, or ~", lambda value: value is None or (_is_number(value) and 0 <= value < 1)),
    "validation_share": ("a number from 0, below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "clusters": ("a whole number from 2", lambda value: _whole(value, 2)),
    "environments": ("a whole number from 2", lambda value: _whole(value, 2)),
    "seed": ("a whole number from 0", lambda value: _whole(value, 0)),
    "sets": (f"a list of some of {', '.join(COMMON['sets'])}", _sets),
    "modality": ("the name of a modality, or ~", lambda value: value is None or isinstance(value, str)),
    "field": ("the name of a column, or ~", lambda value: value is None or isinstance(value, str)),
}


def _check(settings: dict[str, Any]) -> None:
    """Refuses values outside the range of their key, and brings ``values`` to a list of texts."""
    for key, value in settings.items():
        if key in RULES and not RULES[key][1](value):
            raise UserError(f"ood_split.{key}: expected {RULES[key][0]}, found {value!r}")
    for key, choices in (("candidates", CANDIDATES), ("cold_users", COLD_USERS)):
        if key in settings:
            one_of(f"ood_split.{key}", settings[key], choices)
    values = settings.get("values")
    if values is not None:
        settings["values"] = [str(value) for value in (values if isinstance(values, list) else [values])]
    if settings["kind"] == "group" and not (settings["field"] and settings["values"]):
        raise UserError("ood_split: kind group needs field (a column of .inter, .item or .user) and values to hold out")
    if settings["kind"] == "environment" and settings["values"] and not settings["field"]:
        raise UserError("ood_split.values: environments that are found have no names; give field, or leave values out")

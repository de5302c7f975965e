"""What RecBole's keys of reading and filtering data may be; it would read something else in silence, or crash late."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Rule = tuple[str, Callable[[Any], bool]]

_POINT = r"[-+]?(?:inf|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
_INTERVAL = re.compile(rf"[\[(]\s*({_POINT})\s*,\s*({_POINT})\s*[\])]")
_BUCKETS = ({"method"}, {"method", "bucket"})


def is_intervals(value: Any) -> bool:
    """Says whether ``value`` is text such as ``[3,inf)`` or ``[1,2];(4,5)``; RecBole leaves out what is not."""
    if not isinstance(value, str):
        return False
    found = [_INTERVAL.fullmatch(part.strip()) for part in value.split(";")]
    return all(one is not None and float(one[1]) <= float(one[2]) for one in found)


def _is_encoding(value: Any) -> bool:
    """Says whether ``value`` names a text encoding in which a line ends as in ASCII, by which rows are told apart."""
    try:
        return isinstance(value, str) and "\t\n ".encode(value) == b"\t\n "
    except (LookupError, UnicodeError, TypeError, ValueError):
        return False  # codecs such as hex are none of text


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_separator(value: Any) -> bool:
    return _is_text(value) and not set(value) & set('\r\n"')


def _dict_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(_is_text(key) and fits(part) for key, part in value.items())


def _optional(expected: str, fits: Callable[[Any], bool]) -> Rule:
    return f"{expected}, or ~", lambda value: value is None or fits(value)


def _is_discretized(value: Any) -> bool:
    """Says whether ``value`` names a way to make a number discrete."""
    if not isinstance(value, dict) or set(value) not in _BUCKETS:
        return False
    return value["method"] == ("ED" if type(value.get("bucket")) is int and value["bucket"] > 0 else "LD")


_COLUMNS: Callable[[Any], bool] = _dict_of(lambda part: part == "*" or _is_texts(part))
_FIELDS = ("RATING", "TIME", "LABEL", "SESSION_ID", "HEAD_ENTITY_ID", "TAIL_ENTITY_ID", "RELATION_ID", "ENTITY_ID")
_LISTS = ("alias_of_user_id", "alias_of_item_id", "alias_of_entity_id", "alias_of_relation_id")
_NUMBERS = ("user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval", "relation_kg_num_interval")

DATA_RULES: dict[str, Rule] = {
    **dict.fromkeys(("field_separator", "seq_separator"), ("a text without line end or quotation mark", _is_separator)),
    "encoding": _optional(
        "a text encoding that holds ASCII, such as utf-8", lambda value: value == "" or _is_encoding(value)
    ),
    **dict.fromkeys(
        ("load_col", "unload_col"),
        _optional("a dict of file: [columns], such as {inter: [user_id, item_id]}", _COLUMNS),
    ),
    "val_interval": _optional(
        "a dict such as {rating: '[3,inf)', genre: [a, b]}",
        _dict_of(lambda part: is_intervals(part) or isinstance(part, list)),
    ),
    **dict.fromkeys(_NUMBERS, _optional("an interval such as [5,inf)", is_intervals)),
    "seq_len": _optional("a dict of field: length", _dict_of(lambda part: type(part) is int and part > 0)),
    **dict.fromkeys(_LISTS, _optional("a list of fields", _is_texts)),
    "numerical_features": ("a list of fields", _is_texts),
    "additional_feat_suffix": _optional(
        "a suffix or a list of them", lambda value: _is_text(value) or _is_texts(value)
    ),
    "preload_weight": _optional("a dict of field: field", _dict_of(_is_text)),
    "threshold": _optional("a dict of field: number", _dict_of(lambda part: type(part) in (int, float))),
    "discretization": _optional(
        "a dict such as {price: {method: ED, bucket: 9}} or {price: {method: LD}}", _dict_of(_is_discretized)
    ),
    **dict.fromkeys(
        ("normalize_all", "filter_inter_by_user_or_item"),
        _optional("True or False", lambda value: isinstance(value, bool)),
    ),
    **dict.fromkeys(("USER_ID_FIELD", "ITEM_ID_FIELD"), ("the name of a field", _is_text)),
    **{f"{field}_FIELD": _optional("the name of a field", _is_text) for field in _FIELDS},
}

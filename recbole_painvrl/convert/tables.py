"""Text tables, read in pieces; a row that cannot be used is named by file and line."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_painvrl.errors import UserError, nearest

ROWS_A_PIECE = 500_000
NUMBERS = ("rating", "timestamp")
LABELS = ("session_id", "environment")
# pandas' words for nothing, by which RecBole reads: a label that is one of them would be missing there
NOTHING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "None", "n/a", "nan", "null"}
)
Check = Callable[[str], bool]
_DIGITS = len(str(2**63))
_LONGEST_FIELD = 2**31 - 1  # characters; pandas knows no limit, csv's own is 131,072


def read_header(path: Path, separator: str = ",") -> list[str]:
    """Returns the column names of a text table.

    Raises:
        UserError: if the file is missing, empty, not UTF-8 text, or names a column twice or not at all.
    """
    header = next(_rows(path, separator), (1, []))[1]
    if not any(header):
        raise UserError(f"{path}: the file is empty, expected a header line")
    for name in header:
        if not name or header.count(name) > 1 or name != name.strip():
            raise UserError(f"{path} line 1: column name '{name}' is empty, padded or there twice")
    return header


def read_interactions(path: Path, separator: str = ",", ids: tuple[str, ...] = ("user", "item")) -> pd.DataFrame:
    """Returns the rows of an interaction table, [N], in the file's order.

    Columns ``ids`` are int64 from 0, ``rating`` and ``timestamp`` finite numbers, all others text.

    Raises:
        UserError: naming file and line, if a row is not as said; or if a column is missing or there is no row.
    """
    header = read_header(path, separator)
    for name in ids:
        if name not in header:
            found = f"found {', '.join(header)}"
            raise UserError(f"{path} line 1: column '{name}' is missing, {found}.{nearest(name, header)}")
    checks: dict[str, Check] = dict.fromkeys(ids, is_id)
    checks |= {name: is_number for name in NUMBERS if name in header}
    checks |= {name: is_label for name in LABELS if name in header}
    dtypes: dict[str, str | type] = {name: str for name in header if name not in NUMBERS}
    try:
        table = _read(path, separator, {name: kind for name, kind in dtypes.items() if name not in ids}, ids)
    except (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(first_fault(path, separator, checks)) from error
    if table.empty:
        raise UserError(f"{path}: no row in the file, only a header")
    if not _as_said(table, checks):
        raise UserError(first_fault(path, separator, checks))
    _check_short_rows(path, separator, table[header[-1]])
    return table


def _read(path: Path, separator: str, dtypes: dict[str, str | type], ids: tuple[str, ...]) -> pd.DataFrame:
    """Returns the whole table, parsed in pieces so that no text copy of a big file is held.

    What kind of numbers the ids are is left to pandas and looked at: told to read integers, it would read ``3.0`` too,
    by way of floats, and round every large id of the piece in silence.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would lose a field
        pieces = pd.read_csv(
            path, sep=separator, dtype=dtypes, index_col=False, keep_default_na=False, chunksize=ROWS_A_PIECE,
            encoding="utf-8-sig",
        )  # fmt: skip
        table = pd.concat([_whole_ids(piece, ids) for piece in pieces], ignore_index=True)
        return table.astype(dict.fromkeys(ids, "int64"), copy=False)


def _whole_ids(piece: pd.DataFrame, ids: tuple[str, ...]) -> pd.DataFrame:
    """Returns the piece if its ids were written as whole numbers that fit 64 bits; raises ValueError if not."""
    odd = [name for name in ids if len(piece) and piece[name].dtype.kind != "i"]
    if odd:
        raise ValueError(f"{', '.join(odd)}: not whole numbers")
    return piece


def _check_short_rows(path: Path, separator: str, last: pd.Series) -> None:
    """Refuses a row shorter than the header, which pandas fills up with empty texts, so that the last column has one.

    Empty texts may be meant too: only then is the file read once more, row by row.
    """
    fault = _find_fault(path, separator, {}) if (last == "").any() else None
    if fault:
        raise UserError(fault)


def _as_said(table: pd.DataFrame, checks: dict[str, Check]) -> bool:
    """Says whether the parsed columns pass ``checks``, computed a column at a time."""
    for name, check in checks.items():
        column = table[name]
        if check is is_id and (column < 0).any():
            return False
        if check is is_number and (column.dtype.kind not in "iuf" or not np.isfinite(column).all()):
            return False
        if check is is_label and not all(map(is_label, pd.unique(column))):
            return False
    return True


def read_metadata(path: Path, key: str) -> pd.DataFrame:
    """Returns ``items.csv`` or ``users.csv``: int64 column ``key``, unique, and all others as text, empty if missing.

    Raises:
        UserError: naming file and line, if a row has no such id or another number of fields, or an id is there twice.
    """
    header = read_header(path)
    if key not in header:
        raise UserError(f"{path} line 1: column '{key}' is missing, found {', '.join(header)}.{nearest(key, header)}")
    try:
        table = _read(path, ",", {name: str for name in header if name != key}, (key,))
    except (ValueError, OverflowError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise UserError(first_fault(path, ",", {key: is_id})) from error
    if (table[key] < 0).any():
        raise UserError(first_fault(path, ",", {key: is_id}))
    _check_short_rows(path, ",", table[header[-1]])
    repeated = np.flatnonzero(table[key].duplicated())
    if len(repeated):
        raise UserError(f"{path}: {key} {table[key][repeated[0]]} has more than one row")
    return table


def first_fault(path: Path, separator: str, checks: dict[str, Check]) -> str:
    """Returns the message about the first row that has another number of fields than the header or fails a check."""
    fault = _find_fault(path, separator, checks)
    return fault or f"{path}: cannot be read as a table of {', '.join(next(_rows(path, separator))[1])}"


def _find_fault(path: Path, separator: str, checks: dict[str, Check]) -> str | None:
    rows = _rows(path, separator)
    header = next(rows)[1]
    places = [(header.index(name), name, check) for name, check in checks.items()]
    for line, row in rows:
        if len(row) != len(header):
            return f"{path} line {line}: expected {len(header)} fields ({','.join(header)}), found {len(row)}"
        for place, name, check in places:
            if not check(row[place]):
                return f"{path} line {line}: column '{name}' holds '{row[place]}', expected {_EXPECTED[check]}"
    return None


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields of every row that is not blank; one of spaces is, as it is for pandas.

    Raises:
        UserError: if the file is missing or is not UTF-8 text.
    """
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, delimiter=separator)
            for row in reader:
                if len(row) > 1 or (row and not row[0].isspace()):
                    yield reader.line_num, row
    except FileNotFoundError as error:
        raise UserError(f"{path}: file not found") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table in UTF-8 text ({error})") from error
    finally:
        csv.field_size_limit(limit)


def is_id(text: str) -> bool:
    """Says whether ``text`` is a whole number from 0 that fits 64 bits."""
    text = text.strip()
    return text.isascii() and text.isdigit() and len(text.lstrip("0")) <= _DIGITS and int(text) < 2**63


def is_number(text: str) -> bool:
    """Says whether ``text`` is a finite number as tables write it, without Python's ``1_000``."""
    if "_" in text or not text.isascii():
        return False
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def is_label(text: str) -> bool:
    """Says whether ``text`` is there once it is written: neither white space nor one of pandas' words for nothing."""
    return " ".join(text.split()) not in NOTHING


_EXPECTED: dict[Check, str] = {
    is_id: "a whole number from 0",
    is_number: "a finite number",
    is_label: "some text that is no word for nothing such as NA; rename the label",
}


def guess_type(values: Iterable[str]) -> str:
    """Returns the atomic type of a text column; empty texts tell nothing.

    Numbers are ``float``; texts with spaces are sequences, of ``float`` if every word is a number and some word has a
    decimal point, else of tokens; anything else is a ``token``.
    """
    known = {" ".join(value.split()) for value in values} - {""}
    if known and all(map(is_number, known)):
        return "float"
    if not any(" " in value for value in known):
        return "token"
    words = {word for value in known for word in value.split(" ")}
    decimal = any("." in word for word in words) and all(map(is_number, words))
    return "float_seq" if decimal else "token_seq"

"""RecBole's atomic files: reading the header, checking the rows, taking columns as text.

RecBole's reader either crashes without a line number or silently reads something else when a row is malformed, so the
file is looked over first. The looking is a few passes of numpy over the bytes: far cheaper than the reading.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_painvrl.errors import UserError, nearest, unreadable

BYTES_A_PIECE = 32 * 2**20
BYTE_ORDER_MARK = "\ufeff"  # which editors put before the first column, and pandas leaves out
TYPES = ("token", "token_seq", "float", "float_seq")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"?(.*)', re.DOTALL)  # in quotation marks, and whatever follows the last of them


@dataclass(frozen=True)
class AtomicFormat:
    """How the columns and the values inside one cell of an atomic file are told apart."""

    field_separator: str = "\t"
    seq_separator: str = " "
    encoding: str = "utf-8"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AtomicFormat:
        """Returns the format that RecBole's keys of the same names describe."""
        return cls(config["field_separator"], config["seq_separator"], config["encoding"] or "utf-8")

    def unquoted(self, cell: str) -> str:
        """Returns a cell as pandas reads it, by which RecBole reads: one that starts with a quotation mark is quoted.

        Where a separator has several characters pandas knows no quoting.
        """
        found = _QUOTED.match(cell) if len(self.field_separator) == 1 else None
        return found[1].replace('""', '"') + found[2] if found else cell


def read_header(path: Path, form: AtomicFormat) -> dict[str, str]:
    """Reads the columns of an atomic file.

    Args:
        path: The file.
        form: Its separators.

    Returns:
        Type by column name, in the order of the file.

    Raises:
        UserError: The file is missing, empty or unreadable, or a column of the header is not ``name:type``.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with path.open(encoding=form.encoding) as file:
            line = file.readline().removeprefix(BYTE_ORDER_MARK).rstrip("\n")
    except UnicodeDecodeError as error:
        raise encoding_error(path, form.encoding, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not line:
        raise UserError(
            f"{path}: the file is empty; expected a header (such as user_id:token<TAB>item_id:token) and rows"
        )
    return _columns(path, line, form)


def _columns(path: Path, line: str, form: AtomicFormat) -> dict[str, str]:
    """Splits the header line into names and types."""
    columns: dict[str, str] = {}
    for cell in line.split(form.field_separator):
        name, colon, kind = cell.rpartition(":")
        if not colon or not name or kind not in TYPES:
            expected = f"name:type with one of the types {', '.join(TYPES)}, columns parted by {form.field_separator!r}"
            raise UserError(f"{path}, line 1: the column {cell!r} is not {expected}.{nearest(kind, TYPES)}")
        if name in columns:
            raise UserError(f"{path}, line 1: the column {name!r} is there twice; rename or remove one")
        columns[name] = kind
    return columns


def encoding_error(path: Path, encoding: str, error: UnicodeDecodeError) -> UserError:
    """Returns the one-line form of a decoding error."""
    return UserError(
        f"{path}: {error.object[error.start : error.end]!r} is not {encoding}; save the file in {encoding}"
    )


def check_rows(path: Path, form: AtomicFormat, n_columns: int) -> int:
    """Checks that every row has as many cells as the header.

    Args:
        path: The file; its header has been read.
        form: Its separators.
        n_columns: How many columns the header names.

    Returns:
        The number of rows below the header, blank lines not counted.

    Raises:
        UserError: There is no row, one has too many or too few cells, or the file cannot be read.
    """
    separator = form.field_separator.encode(form.encoding)
    lines, rows, wrong = 0, 0, []
    for data in _pieces(path):
        ends = np.flatnonzero(data == ord("\n"))
        if len(ends) == 0 or ends[-1] != len(data) - 1:
            ends = np.append(ends, len(data))
        filled = _line_lengths(data, ends) > 0
        if len(separator) == 1:
            wrong += _wrong_counts(np.flatnonzero(data == separator[0]), ends, filled, n_columns, lines)
        rows += int(filled.sum()) - bool(lines == 0 and filled[0])
        lines += len(ends)
    if wrong:
        (line, found), more = wrong[0], f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise UserError(f"{path}, line {line}: {found} columns where the header names {n_columns}{more}; mend the row")
    if not rows:
        raise UserError(f"{path}: there is no row below the header")
    return rows


def _pieces(path: Path) -> Iterator[NDArray[Any]]:
    """Yields the bytes of a file, whole lines at a time."""
    try:
        with path.open("rb") as file:
            while piece := file.read(BYTES_A_PIECE):
                yield np.frombuffer(piece + file.readline(), dtype=np.uint8)
    except OSError as error:
        raise unreadable(path, error) from error


def _line_lengths(data: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    r"""Returns the number of bytes of each line without its line end (``\n`` or ``\r\n``)."""
    lengths = np.diff(ends, prepend=-1) - 1
    carriage = data[np.maximum(ends - 1, 0)] == ord("\r")
    bare: NDArray[Any] = lengths - (carriage & (lengths > 0))
    return bare


def _wrong_counts(
    separators: NDArray[Any], ends: NDArray[Any], filled: NDArray[Any], n_columns: int, before: int
) -> list[tuple[int, int]]:
    """Returns number and cells of the filled lines whose cells are not ``n_columns``, ``before`` lines into a file."""
    cells = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    wrong = np.flatnonzero((cells != n_columns) & filled)
    return [(before + int(line) + 1, int(cells[line])) for line in wrong]


def read_text(
    path: Path,
    form: AtomicFormat,
    columns: Sequence[str],
    header: Mapping[str, str],
    blank_lines: bool = True,
    quoted: bool = False,
) -> pd.DataFrame:
    """Reads some columns as RecBole's reader parts them, but ``NA`` stays ``NA`` and an empty cell is the empty text.

    Args:
        path: The file.
        form: Its separators.
        columns: The columns to read; each must be in the header.
        header: Type by column name.
        blank_lines: Whether blank lines are rows, of empty cells; else they are left out, as RecBole's reader does.
        quoted: Whether quotation marks around and in a cell stay, for what is written again.

    Returns:
        One column of text for each of ``columns``; the index counts rows: lines below the header if ``blank_lines``.

    Raises:
        UserError: The file is not in the encoding that the format says, or a quotation mark swallows line ends.
    """
    try:
        frame = pd.read_csv(
            path,
            sep=parser_separator(form.field_separator),
            header=None,
            skiprows=1,
            names=list(header),
            usecols=list(dict.fromkeys(columns)),
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            quoting=csv.QUOTE_NONE if quoted else csv.QUOTE_MINIMAL,
            encoding=form.encoding,
            skip_blank_lines=not blank_lines,
            engine="c" if len(form.field_separator) == 1 else "python",
        )
    except UnicodeDecodeError as error:
        raise encoding_error(path, form.encoding, error) from error
    except pd.errors.ParserError as error:
        raise find_quote(path, form) from error
    if blank_lines and len(frame) != _count_lines(path, form.encoding) - 1:
        raise find_quote(path, form)
    return frame[list(columns)]


def _count_lines(path: Path, encoding: str) -> int:
    with path.open(encoding=encoding, newline="\n") as file:
        return sum(1 for _ in file)


def parser_separator(separator: str) -> str:
    """Returns a separator as pandas wants it, which takes one of several characters for a regular expression."""
    return separator if len(separator) == 1 else re.escape(separator)


def find_bad_number(path: Path, form: AtomicFormat, header: Mapping[str, str]) -> UserError | None:
    """Returns the error of the first cell of a float or float_seq column that is no number, for a file that failed."""
    for name in (column for column, kind in header.items() if kind.startswith("float")):
        cells = read_text(path, form, [name], header)[name]
        if header[name] == "float_seq":
            cells = cells.str.split(form.seq_separator).explode()
        unusable = ~np.isfinite(pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64))
        missing = cells.isin(["", "nan", "NaN", "NA"] if header[name] == "float" else [""])
        bad = cells[unusable & ~missing]
        if len(bad):
            place = f"{path}, line {bad.index[0] + 2}, column {name}"
            return UserError(f"{place}: {bad.iloc[0]!r} is not a finite number; mend it or leave the cell empty")
    return None


def find_quote(path: Path, form: AtomicFormat) -> UserError:
    """Returns the error of a file of which quotation marks at the start of a cell swallowed rows."""
    with path.open(encoding=form.encoding) as file:
        for line, text in enumerate(file, start=1):
            if any(map(_is_open, text.split(form.field_separator))):
                why = "a cell that starts with a quotation mark makes RecBole read on over the end of the line"
                return UserError(f"{path}, line {line}: {why}; remove the mark")
    return UserError(f"{path}: RecBole reads fewer or more rows than there are lines; look for control characters")


def _is_open(cell: str) -> bool:
    """Says whether a cell starts with a quotation mark that no other one closes."""
    return cell.startswith('"') and '"' not in cell[1:].replace('""', "")

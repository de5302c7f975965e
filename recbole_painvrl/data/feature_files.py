"""Files that hold one feature row an item, with the item's token beside it.

Both kinds know their tokens without reading the numbers, and read the numbers of chosen rows only, so that a matrix is
held once, in its final place. Letters: n rows of the file, D feature width.
"""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.data.atomic import AtomicFormat, encoding_error, read_header
from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.files import DAMAGED_ARRAY


class FeatureFile(Protocol):
    """What the alignment needs of a file of features."""

    path: Path
    tokens: list[str]
    width: int

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Returns the features of the rows, float32 [len(rows), D]."""
        ...

    def place(self, row: int) -> str:
        """Returns where a row stands in the file, for messages."""
        ...


class NpyFile:
    """``<name>.<modality>.npy``, mapped into memory, with the tokens in ``<name>.<modality>.ids``, one a line.

    Any number type is accepted, half precision included.

    Args:
        path: The ``.npy`` file.

    Raises:
        UserError: One of the two files is missing, is no matrix of numbers, or they differ in length.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.array = _map_matrix(path)
        self.tokens = _read_ids(path.with_suffix(".ids"), path)
        self.width = self.array.shape[1]
        if len(self.tokens) != len(self.array):
            counts = f"{len(self.array)} rows, but {path.with_suffix('.ids').name} has {len(self.tokens)} lines"
            raise UserError(f"{path}: {counts}; write one item token a line for each row")

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Returns the features of the rows, float32 [len(rows), D]."""
        # A value that float32 cannot hold becomes infinite, which the caller reports with its place.
        with np.errstate(over="ignore"):
            taken = np.asarray(self.array[rows], dtype=np.float32)
        if isinstance(self.array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            # else all of the file that has been read would count as memory of this process
            self.array.base.madvise(mmap.MADV_DONTNEED)
        return taken

    def place(self, row: int) -> str:
        """Returns where a row stands in the file, for messages."""
        return f"row {row} (counted from 0)"


def _map_matrix(path: Path) -> NDArray[Any]:
    """Maps a two-dimensional numeric ``.npy`` file; never unpickles."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED_ARRAY as error:
        raise UserError(f"{path}: not a readable .npy matrix of numbers ({error}); write it with numpy.save") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiub" or 0 in array.shape:
        found = f"shape {array.shape}, type {array.dtype}" if isinstance(array, np.ndarray) else "an archive of arrays"
        raise UserError(f"{path}: expected a matrix of numbers, one row an item, but found {found}")
    return array


def _read_ids(path: Path, matrix: Path) -> list[str]:
    """Reads the item tokens, one a line; a byte-order mark, which editors put before the first, is none of its."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; it must hold the item tokens of the rows of {matrix.name}")
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise encoding_error(path, "utf-8", error) from error
    tokens = [line.rstrip("\r") for line in lines]
    if "" in tokens:
        raise UserError(f"{path}, line {tokens.index('') + 1}: the line is empty; expected an item token")
    return tokens


class AtomicFile:
    """An atomic text file of a token column and a float_seq column, as RecBole loads by ``additional_feat_suffix``.

    The names of the columns are free: ``item_id:token<TAB>visual:float_seq`` or ``vid:token<TAB>v_feat:float_seq``. An
    empty cell is an item without features. The offset of each line is kept and its numbers are parsed when asked for:
    the text of a matrix is some three times as large as the matrix.

    Args:
        path: The file.
        form: Its separators.
        column: The float_seq column to take if there are several.

    Raises:
        UserError: The file is missing or empty, or has not the two columns, or a row is malformed.
    """

    def __init__(self, path: Path, form: AtomicFormat, column: str | None = None) -> None:
        self.path = path
        self.form = form
        header = read_header(path, form)
        self.id_column, self.column = _choose_columns(path, header, column)
        self.n_columns = len(header)
        self.separator = form.field_separator.encode(form.encoding)
        self.tokens: list[str] = []
        self.offsets: list[int] = []
        self.lines: list[int] = []
        try:
            self._scan()
        except UnicodeDecodeError as error:
            raise encoding_error(path, form.encoding, error) from error
        if not self.tokens:
            raise UserError(f"{path}: there is no row with features below the header")
        self.width = len(self._numbers(0))

    def _scan(self) -> None:
        """Notes token, offset and line number of each row that has features."""
        with self.path.open("rb") as file:
            offset = len(file.readline())
            for line, text in enumerate(file, start=2):
                cells = text.rstrip(b"\r\n").split(self.separator)
                if len(cells) == self.n_columns:
                    if cells[self.column].strip():
                        self.tokens.append(self.form.unquoted(cells[self.id_column].decode(self.form.encoding)))
                        self.offsets.append(offset)
                        self.lines.append(line)
                elif cells != [b""]:
                    expected = f"{len(cells)} columns where the header names {self.n_columns}"
                    raise UserError(f"{self.path}, line {line}: {expected}; mend the row")
                offset += len(text)

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Returns the features of the rows, float32 [len(rows), D]."""
        taken = np.empty((len(rows), self.width), dtype=np.float32)
        with self.path.open("rb") as file:
            for out, row in zip(taken, rows, strict=True):
                file.seek(self.offsets[row])
                out[:] = self._parse(file.readline(), row)
        return taken

    def _numbers(self, row: int) -> list[str]:
        """Returns the cell of a row as texts."""
        with self.path.open("rb") as file:
            file.seek(self.offsets[row])
            cell = file.readline().rstrip(b"\r\n").split(self.separator)[self.column].decode(self.form.encoding)
        return [number for number in cell.split(self.form.seq_separator) if number]

    def _parse(self, text: bytes, row: int) -> NDArray[Any]:
        """Parses the numbers of a line, float32 [D]."""
        cell = text.rstrip(b"\r\n").split(self.separator)[self.column]
        with warnings.catch_warnings():
            # On text that is no number older numpy stops with a warning, newer numpy raises; both end below.
            warnings.simplefilter("error", DeprecationWarning)
            try:
                numbers = np.fromstring(cell, dtype=np.float32, sep=self.form.seq_separator)
            except (DeprecationWarning, ValueError):
                raise self._bad_number(row) from None
        if len(numbers) != self.width:
            counts = f"{len(numbers)} values where line {self.lines[0]} has {self.width}"
            raise UserError(f"{self.path}, {self.place(row)} (item {self.tokens[row]}): {counts}")
        return numbers

    def _bad_number(self, row: int) -> UserError:
        """Returns the error of a row with a cell that is no number."""
        bad = next((number for number in self._numbers(row) if not _is_number(number)), "")
        return UserError(f"{self.path}, {self.place(row)} (item {self.tokens[row]}): {bad!r} is not a number")

    def place(self, row: int) -> str:
        """Returns where a row stands in the file, for messages."""
        return f"line {self.lines[row]}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _choose_columns(path: Path, header: dict[str, str], column: str | None) -> tuple[int, int]:
    """Returns the positions of the token column and of the float_seq column."""
    names = list(header)
    ids = [name for name in names if header[name] == "token"]
    features = [name for name in names if header[name] == "float_seq"]
    found = ", ".join(f"{name}:{kind}" for name, kind in header.items())
    if not ids or not features:
        raise UserError(f"{path}, line 1: expected a token column and a float_seq column, but found {found}")
    if column is None and len(features) == 1:
        column = features[0]
    if column not in features:
        hint = nearest(str(column), features)
        raise UserError(f"{path}, line 1: no float_seq column {column!r} (found {found}); name one by field.{hint}")
    return names.index(ids[0]), names.index(column)

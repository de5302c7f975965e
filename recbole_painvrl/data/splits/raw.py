"""The interaction files as text, row by row, and columns of the metadata files, whether a model loads them or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recbole_painvrl.data.atomic import AtomicFormat, check_rows, read_header, read_text
from recbole_painvrl.errors import UserError, nearest


@dataclass(frozen=True)
class RawFiles:
    """The atomic files of a data set.

    Attributes:
        folder: The data folder.
        dataset: Name of the data set.
        parts: Names of the benchmark files, or None for one file of interactions.
        form: Separators.
    """

    folder: Path
    dataset: str
    parts: list[str] | None
    form: AtomicFormat

    @property
    def paths(self) -> list[Path]:
        """The files of interactions, in order."""
        names = [f"{self.dataset}.{part}.inter" for part in self.parts] if self.parts else [f"{self.dataset}.inter"]
        return [self.folder / name for name in names]

    @cached_property
    def columns(self) -> dict[str, str]:
        """Type of each column of the interactions; files may lack some that others have."""
        return {name: kind for path in self.paths for name, kind in read_header(path, self.form).items()}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """All rows that RecBole reads, as they are written; a column that a file lacks is empty there."""
        return self._read(list(self.columns), quoted=True)

    def cells(self, field: str) -> pd.Series:
        """Returns a column of :attr:`rows` without the quotation marks that its cells are written in."""
        return self._read([field])[field]

    def _read(self, columns: list[str], quoted: bool = False) -> pd.DataFrame:
        frames = []
        for path in self.paths:
            header = read_header(path, self.form)
            # of a file that lacks all of them the rows count still
            wanted = [column for column in columns if column in header] or list(header)[:1]
            frames.append(read_text(path, self.form, wanted, header, blank_lines=False, quoted=quoted))
        return pd.concat(frames, ignore_index=True).reindex(columns=columns).fillna("")

    def metadata(self, suffix: str) -> dict[str, str]:
        """Returns the columns of ``.item`` or ``.user``, none if there is no such file."""
        path = self.folder / f"{self.dataset}.{suffix}"
        return read_header(path, self.form) if path.is_file() else {}

    def of_tokens(self, suffix: str, id_field: str, field: str, tokens: NDArray[Any]) -> NDArray[Any]:
        """Returns a column of ``.item`` or ``.user`` for each token, as text; empty where the file has no such token.

        Raises:
            UserError: The file has no id column, or a row is malformed.
        """
        path, header = self.folder / f"{self.dataset}.{suffix}", self.metadata(suffix)
        if id_field not in header:
            raise UserError(f"{path}, line 1: no column {id_field!r}.{nearest(id_field, header)}")
        check_rows(path, self.form, len(header))
        frame = read_text(path, self.form, [id_field, field], header)
        found = dict(zip(frame[id_field], frame[field], strict=True))
        return np.array([found.get(token, "") for token in tokens], dtype=object)


def find_column(files: RawFiles, field: str) -> tuple[str, str | None]:
    """Returns where a column is, ``inter``, ``item`` or ``user``, and what parts several values of one cell.

    Raises:
        UserError: No file has the column; the message names those there are.
    """
    places = {"inter": files.columns, "item": files.metadata("item"), "user": files.metadata("user")}
    for suffix, header in places.items():
        if field in header:
            return suffix, files.form.seq_separator if header[field].endswith("_seq") else None
    there = "; ".join(f".{suffix}: {', '.join(header)}" for suffix, header in places.items() if header)
    names = [name for header in places.values() for name in header]
    raise UserError(f"ood_split.field: {files.dataset} has no column {field!r} ({there}).{nearest(field, names)}")


def read_times(files: RawFiles, field: str | None, rows: NDArray[Any]) -> NDArray[Any]:
    """Returns the time of the rows, float64 [n].

    Raises:
        UserError: There is no such column, or a row has no time.
    """
    if field is None or field not in files.columns:
        there = ", ".join(files.columns)
        what = f"{files.paths[0].name} has no column {field!r} (TIME_FIELD; there are {there})"
        raise UserError(f"ood_split: kind time needs timestamps, but {what}.{nearest(str(field), files.columns)}")
    cells = files.cells(field)
    times: NDArray[Any] = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)[rows]
    if not np.isfinite(times).all():
        bad = rows[int(np.flatnonzero(~np.isfinite(times))[0])]
        what = f"{field} {cells.iloc[bad]!r} is no time; mend the row"
        raise UserError(f"ood_split: {files.dataset}, interaction {bad + 1}: {what}")
    return times

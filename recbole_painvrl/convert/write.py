"""Writes a data set as atomic files, all at once: first into a hidden folder beside its place, then under its name."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from recbole_painvrl.convert.fields import interaction_tables, item_table, user_table
from recbole_painvrl.convert.raw import WHOLE, RawData
from recbole_painvrl.errors import UserError

ROWS_A_PIECE = 100_000
BYTES_A_PIECE = 32 * 2**20
CHANGED_MEANWHILE = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)


def write(raw: RawData, target: Path, overwrite: bool = False) -> None:
    """Writes the atomic files, features and settings of ``raw`` into the folder ``target``.

    An error or an interrupt leaves nothing behind; a killed process leaves at most what :func:`new_folder` says.

    Raises:
        UserError: if ``target`` exists and ``overwrite`` is false, or the disk refuses.
    """
    try:
        with new_folder(target, overwrite) as folder:
            write_files(raw, folder, target.name)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error


@contextmanager
def new_folder(target: Path, overwrite: bool) -> Iterator[Path]:
    """Gives a hidden folder beside ``target`` that takes its place when the block ends without an error.

    A killed process leaves its ``.<name>.partial-<number>``, which stays until somebody removes it by hand: whether the
    process lives, perhaps on another machine that shares the disk, cannot be known. If it was killed in the moment
    between two renames, what it was about to replace is left as ``.<name>.old-<number>``; the next call puts it back.

    Raises:
        UserError: ``target`` exists and ``overwrite`` is false.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _recover(target) and not overwrite:
        why = "a killed process had moved it aside, it is back now"
        raise UserError(f"{target}: exists already ({why}); choose another --name or say --overwrite")
    folder = _beside(target, "partial")
    try:
        folder.mkdir()
        yield folder
        for path in (*sorted(folder.rglob("*")), folder):
            _sync(path)
        _publish(folder, target, overwrite)
    finally:
        _remove(folder)


def _beside(target: Path, kind: str) -> Path:
    """Returns a hidden name of its own; random, as processes on machines that share the disk have the same numbers."""
    return target.with_name(f".{target.name}.{kind}-{os.urandom(6).hex()}")


def _recover(target: Path) -> bool:
    """Puts back what a killed process moved aside last, if nothing is in its place; says whether it did.

    What was moved aside and has a successor is removed.
    """
    # Listed before the place is looked at: what was aside by then and has a successor is of use to nobody.
    aside = [path for path in target.parent.iterdir() if path.name.startswith(f".{target.name}.old-")]
    back = None
    with suppress(FileNotFoundError):  # the process that moved it aside lives and was quicker
        if aside and not os.path.lexists(target):
            back = max(aside, key=lambda path: path.lstat().st_ctime_ns)
            os.replace(back, target)
    for path in aside:
        with suppress(OSError):
            _discard(path, target)
    return back is not None


def _discard(old: Path, target: Path) -> None:
    """Removes a former data set; first renamed, so that one of which files are gone already is never put back."""
    waste = _beside(target, "partial")
    with suppress(FileNotFoundError):  # another process was quicker
        os.replace(old, waste)
    _remove(waste)


def _publish(folder: Path, target: Path, overwrite: bool) -> None:
    """Renames ``folder`` to ``target``; of several processes that do so each finds what the others made of it."""
    while True:
        try:
            return _rename(folder, target, overwrite)
        except OSError as error:
            if error.errno not in CHANGED_MEANWHILE or not folder.is_dir():
                raise


def _rename(folder: Path, target: Path, overwrite: bool) -> None:
    """Moves an old data set aside, and back if the new one cannot take its place."""
    if not os.path.lexists(target):
        os.replace(folder, target)
    elif not overwrite:
        raise UserError(f"{target}: exists already; choose another --name or say --overwrite")
    else:
        old = _beside(target, "old")
        os.replace(target, old)
        try:
            os.replace(folder, target)
        except BaseException:
            if os.path.lexists(target):  # another process was quicker
                _discard(old, target)
            else:
                os.replace(old, target)
            raise
        _discard(old, target)
    _sync(target.parent)


def _remove(path: Path) -> None:
    """Removes a folder, file or link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Asks the disk to keep a file or folder before it is renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(raw: RawData, folder: Path, name: str) -> None:
    """Writes all files of the data set ``name`` into an empty folder."""
    for split, table in interaction_tables(raw).items():
        write_table(table, folder / (f"{name}.inter" if split == WHOLE else f"{name}.{split}.inter"))
    write_table(item_table(raw), folder / f"{name}.item")
    users = user_table(raw)
    if users is not None:
        write_table(users, folder / f"{name}.user")
    for modality, feature in raw.features.items():
        write_matrix(feature.values, folder / f"{name}.{modality}.npy")
        ids = "".join(f"{item}\n" for item in range(len(feature.values)))
        (folder / f"{name}.{modality}.ids").write_text(ids, encoding="utf-8")
    (folder / f"{name}.yaml").write_text(settings_text(raw), encoding="utf-8")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table with its header, tab-separated; a field is quoted only where it holds a quotation mark."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        handle.write("\t".join(table.columns) + "\n")
        table.to_csv(handle, sep="\t", header=False, index=False, lineterminator="\n", chunksize=ROWS_A_PIECE)


def write_matrix(values: np.ndarray, path: Path) -> None:
    """Writes a matrix [I, D] as ``.npy`` with the source's dtype, row by row in memory order, read in pieces."""
    step = max(1, BYTES_A_PIECE // (values.dtype.itemsize * values.shape[1]))
    with open(path, "wb") as handle:
        header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": values.shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for start in range(0, len(values), step):
            handle.write(np.ascontiguousarray(values[start : start + step]).tobytes())


def settings_text(raw: RawData) -> str:
    """Returns the RecBole settings of the data set as YAML text."""
    columns = {column for split in raw.splits.values() for column in split.table}
    settings: dict[str, object] = {"field_separator": "\t", "seq_separator": " "}
    settings |= {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id"}
    settings |= {"RATING_FIELD": "rating"} if "rating" in columns else {}
    settings |= {"TIME_FIELD": "timestamp"} if "timestamp" in columns else {}
    settings |= {"load_col": None}
    settings |= {} if WHOLE in raw.splits else {"benchmark_filename": list(raw.splits)}
    modalities = {name: {"source": "npy"} for name in raw.features}
    modalities |= {} if raw.words is None else {"words": {"source": "words", "field": "words"}}
    settings["modalities"] = modalities
    return yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)

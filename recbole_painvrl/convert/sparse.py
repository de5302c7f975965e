"""User x item pairs out of pickled scipy matrices, read without running any code of the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_painvrl.convert.restricted import CooState, CscState, CsrState, SparseState, unpickle
from recbole_painvrl.errors import UserError


@dataclass(frozen=True)
class SparsePairs:
    """The entries of a user x item matrix: ``users`` [N], ``items`` [N] and the ``shape`` (U, I)."""

    users: np.ndarray
    items: np.ndarray
    shape: tuple[int, int]


def load_sparse(path: Path) -> SparsePairs:
    """Returns the pairs of a pickled ``coo_matrix``, ``csr_matrix`` or ``csc_matrix`` of ones.

    Raises:
        UserError: if the file is not such a matrix, or an entry is not 1.
    """
    with open(path, "rb") as handle:
        state = unpickle(handle, path)
    if not isinstance(state, SparseState):
        raise UserError(f"{path}: expected a pickled scipy.sparse matrix, found a {type(state).__name__}")
    values = vars(state)
    shape = values.get("_shape", values.get("shape"))
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(isinstance(size, int) for size in shape)):
        raise UserError(f"{path}: expected a matrix of users x items, its shape is {shape}")
    users, items = _entries(state, shape, path)
    _check_ones(_vector(values, "data", path, "fiub"), len(users), path)
    return SparsePairs(users, items, shape)


def _entries(state: SparseState, shape: tuple[int, int], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns row [N] and column [N] of each entry."""
    values = vars(state)
    if isinstance(state, CooState):
        rows, columns = _coordinates(values, path)
    else:
        columns = _vector(values, "indices", path)
        rows = _expanded(_vector(values, "indptr", path), len(columns), shape[isinstance(state, CscState)], path)
    if len(rows) != len(columns):
        raise UserError(f"{path}: damaged matrix, {len(rows)} row numbers for {len(columns)} column numbers")
    return (rows, columns) if isinstance(state, (CooState, CsrState)) else (columns, rows)


def _coordinates(values: dict[str, object], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns of a coordinate matrix, which scipy keeps in one tuple from 1.13 on."""
    coordinates = values.get("coords")
    if isinstance(coordinates, tuple) and len(coordinates) == 2:
        values = {"row": coordinates[0], "col": coordinates[1]}
    return _vector(values, "row", path), _vector(values, "col", path)


def _expanded(pointers: np.ndarray, n_entries: int, n_rows: int, path: Path) -> np.ndarray:
    """Returns the row [N] of each entry from the row pointers [rows + 1] of a compressed matrix."""
    lengths = np.diff(pointers)
    if len(pointers) != n_rows + 1 or (lengths < 0).any() or lengths.sum() != n_entries or pointers[0] != 0:
        raise UserError(f"{path}: damaged matrix, its row pointers do not fit its {n_entries} entries")
    return np.repeat(np.arange(n_rows), lengths)


def _vector(values: dict[str, object], name: str, path: Path, kinds: str = "iu") -> np.ndarray:
    vector = values.get(name)
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype.kind not in kinds:
        raise UserError(f"{path}: damaged matrix, '{name}' is not a vector of numbers")
    return vector


def _check_ones(data: np.ndarray, n_entries: int, path: Path) -> None:
    """Refuses entries that are not 1, because what they would mean is not known."""
    if len(data) != n_entries:
        raise UserError(f"{path}: damaged matrix, {len(data)} values for {n_entries} entries")
    odd = np.flatnonzero(data != 1)
    if len(odd):
        raise UserError(f"{path}: entry {odd[0]} is {data[odd[0]]}, expected 1 for every interaction")

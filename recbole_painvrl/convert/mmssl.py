"""Format ``mmssl``: JSON objects of user -> items (MMSSL, LATTICE, MICRO), or pickled user x item matrices (DiffMM)."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from recbole_painvrl.convert.modalities import find_features, load_feature, modality_name
from recbole_painvrl.convert.raw import FIRST_SPLITS, Options, RawData, Split, pairs_table
from recbole_painvrl.convert.sparse import SparsePairs, load_sparse
from recbole_painvrl.convert.tables import is_id
from recbole_painvrl.errors import UserError

JSON_FILES = dict(zip(FIRST_SPLITS, ("train.json", "val.json", "test.json"), strict=True))
MATRIX_FILES = dict(zip(FIRST_SPLITS, ("trnMat.pkl", "valMat.pkl", "tstMat.pkl"), strict=True))
EXPECTED = (
    "expected train.json, val.json and test.json, there or in a <k>-core folder, or trnMat.pkl, valMat.pkl "
    "and tstMat.pkl"
)


def read(folder: Path, options: Options) -> RawData:
    """Returns the data of a folder of MMSSL, LATTICE, MICRO or DiffMM.

    Raises:
        UserError: A file is missing or damaged, or the folder is of two kinds at once.
    """
    inner = _inner_folder(folder, options.core)
    has_json = any((inner / name).exists() for name in JSON_FILES.values())
    has_matrices = any((inner / name).exists() for name in MATRIX_FILES.values())
    if has_json and has_matrices:
        raise UserError(f"{folder}: holds JSON splits and pickled matrices; move one of the two away")
    raw = _read_json(inner) if has_json else _read_matrices(inner)
    features = find_features(folder.glob("*_feat.npy"), lambda path: modality_name(path.stem.removesuffix("_feat")))
    raw.features = {name: load_feature(path) for name, path in features.items()}
    return raw


def _inner_folder(folder: Path, core: int | None) -> Path:
    """Returns the folder that holds the splits, which LATTICE and MICRO put one level down.

    Raises:
        UserError: if there is more than one to choose from, or not the one that was asked for.
    """
    cores = {path.name: path for path in sorted(folder.iterdir()) if re.fullmatch(r"\d+-core", path.name)}
    if core is not None:
        if f"{core}-core" not in cores:
            raise UserError(f"{folder}: no folder {core}-core, found {', '.join(cores) or 'none of the kind'}")
        return cores[f"{core}-core"]
    if not cores or any((folder / name).exists() for name in (*JSON_FILES.values(), *MATRIX_FILES.values())):
        return folder
    if len(cores) > 1:
        raise UserError(f"{folder}: holds {', '.join(cores)}; say which with --core=K")
    return next(iter(cores.values()))


def _read_json(folder: Path) -> RawData:
    """Returns the interactions of the JSON files; ``train_mat`` is compared with ``train.json``, or read instead."""
    matrix = load_sparse(folder / "train_mat") if (folder / "train_mat").exists() else None
    files = {name: folder / file for name, file in JSON_FILES.items()}
    missing = [path.name for name, path in files.items() if not path.exists() and not (name == "train" and matrix)]
    if missing:
        raise UserError(f"{folder}: {', '.join(missing)} not found; {EXPECTED}")
    splits = {name: _json_split(path) for name, path in files.items() if path.exists()}
    if matrix is None:
        return RawData(splits=splits)
    from_matrix = Split(pairs_table(matrix.users, matrix.items, ordered=False), "train_mat")
    if "train" in splits and not splits["train"].table.equals(from_matrix.table):
        raise UserError(f"{folder}: train.json and train_mat hold different interactions; remove the wrong one")
    splits = {"train": from_matrix} | splits
    return RawData(splits=splits, n_users=matrix.shape[0], n_items=matrix.shape[1], stated_by="the shape of train_mat")


def _json_split(path: Path) -> Split:
    """Returns the pairs of one JSON object of user -> list of items; lists may be empty."""
    try:
        lists = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=lambda pairs: _once(pairs, path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON text ({error})") from error
    if not isinstance(lists, dict):
        raise UserError(f"{path}: expected one object of user -> list of items, found a {type(lists).__name__}")
    for user, items in lists.items():
        if not is_id(user) or not isinstance(items, list):
            raise UserError(f"{path}: entry '{user}' is not a user number from 0 with a list of items")
    flat = list(chain.from_iterable(lists.values()))
    if set(map(type, flat)) - {int}:
        odd = next(value for value in flat if type(value) is not int)
        raise UserError(f"{path}: item {odd!r} is not a whole number")
    if not flat:
        raise UserError(f"{path}: no interaction in the file")
    users = np.repeat(np.array([int(user) for user in lists]), [len(items) for items in lists.values()])
    return Split(pairs_table(users, _integers(flat, path), ordered=False), path.name)


def _integers(values: list[int], path: Path) -> np.ndarray:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as error:
        raise UserError(f"{path}: an item id does not fit 64 bits") from error


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Returns the object of ``pairs``; JSON readers would silently keep the last of two equal keys."""
    merged = dict(pairs)
    if len(merged) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise UserError(f"{path}: user '{twice}' is there twice")
    return merged


def _read_matrices(folder: Path) -> RawData:
    """Returns the interactions of the three pickled matrices, which must have one shape."""
    files = {name: folder / file for name, file in MATRIX_FILES.items()}
    missing = [path.name for path in files.values() if not path.exists()]
    if missing:
        raise UserError(f"{folder}: {', '.join(missing)} not found; {EXPECTED}")
    matrices = {name: load_sparse(path) for name, path in files.items()}
    shapes = {files[name].name: matrix.shape for name, matrix in matrices.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"{folder}: the matrices differ in shape: {shapes}; expected one (users, items)")
    splits = {name: _matrix_split(matrix, files[name]) for name, matrix in matrices.items()}
    n_users, n_items = next(iter(shapes.values()))
    return RawData(splits=splits, n_users=n_users, n_items=n_items, stated_by="the shape of trnMat.pkl")


def _matrix_split(matrix: SparsePairs, path: Path) -> Split:
    if not len(matrix.users):
        raise UserError(f"{path}: no interaction in the file")
    return Split(pairs_table(matrix.users, matrix.items, ordered=False), path.name)

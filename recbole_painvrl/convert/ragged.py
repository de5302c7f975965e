"""Pairs out of the ragged object arrays of the MMGCN family."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from recbole_painvrl.convert.restricted import load_object_array, open_matrix
from recbole_painvrl.errors import UserError

NEGATIVES_OF_FIRST_RELEASE = 1000
Pairs = tuple[np.ndarray, np.ndarray]


def load_train(path: Path) -> Pairs:
    """Returns users [N] and items [N] of an integer array of rows (user, item).

    Raises:
        UserError: if the file holds anything else or nothing.
    """
    pairs = open_matrix(path)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise UserError(f"{path}: expected an integer array of rows (user, item), found {pairs.dtype} {pairs.shape}")
    if not len(pairs):
        raise UserError(f"{path}: no interaction in the file")
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)


def load_lists(path: Path) -> Pairs:
    """Returns users [N] and items [N] of an array of lists ``[user, item, item, ...]``; a list may be ``[user]`` alone.

    Raises:
        UserError: if the file is not such an array, holds no pair, or is MMGCN's first release.
    """
    rows = _as_lists(load_object_array(path), path)
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    if not len(rows) or (lengths == 0).any():
        raise UserError(f"{path}: holds an empty list, expected [user, item, item, ...]")
    if lengths.min() > NEGATIVES_OF_FIRST_RELEASE:
        raise UserError(
            f"{path}: every row has more than {NEGATIVES_OF_FIRST_RELEASE} entries, so this is MMGCN's first release "
            f"(user, {NEGATIVES_OF_FIRST_RELEASE} sampled negatives, positives); take val_full.npy and test_full.npy"
        )
    flat = _flat(rows, path)
    firsts = np.cumsum(lengths) - lengths
    if lengths.max() == 1:
        raise UserError(f"{path}: no interaction in the file, only users")
    return np.repeat(flat[firsts], lengths - 1), np.delete(flat, firsts)


def load_dict(path: Path) -> Pairs:
    """Returns users [N] and items [N] of a pickled dict user -> list or set of items.

    Raises:
        UserError: if the file is not such a dict or holds no pair.
    """
    array = load_object_array(path)
    mapping = array.item() if array.shape == () else None
    if not isinstance(mapping, dict):
        raise UserError(f"{path}: expected one pickled dict of user -> items, found {array.dtype} {array.shape}")
    values = list(mapping.values())
    _check_collections(values, path)
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    if not lengths.sum():
        raise UserError(f"{path}: no interaction in the file")
    return np.repeat(_flat([list(mapping)], path), lengths), _flat(values, path)


def _as_lists(array: np.ndarray, path: Path) -> Sequence[Collection[int]]:
    """Returns the rows of an array of lists; lists of one length may have been saved as a matrix."""
    if array.ndim not in (1, 2):
        raise UserError(f"{path}: expected an array of lists [user, item, ...], found {array.dtype} {array.shape}")
    rows = array.tolist()
    _check_collections(rows, path)
    return rows


def _check_collections(values: Sequence[object], path: Path) -> None:
    odd = {type(value) for value in values} - {list, set, tuple, np.ndarray}
    if odd:
        raise UserError(f"{path}: holds a {odd.pop().__name__} where a list of ids was expected")


def _flat(rows: Sequence[Collection[int]], path: Path) -> np.ndarray:
    """Returns all entries of the rows one after the other, int64."""
    entries = list(chain.from_iterable(rows))
    odd = [kind for kind in set(map(type, entries)) if kind is not int and not issubclass(kind, np.integer)]
    if odd:
        raise UserError(f"{path}: holds a {odd[0].__name__} where an id was expected")
    try:
        return np.array(entries, dtype=np.int64)
    except OverflowError as error:
        raise UserError(f"{path}: an id does not fit 64 bits") from error


def load_old_or_full(path: Path) -> Pairs:
    """Returns the pairs of a ``val.npy`` or ``test.npy``, names that stand for two layouts.

    MMGCN's first release has 1000 sampled negatives in each row; a row that is not longer than that cannot hold them,
    so its entries are all positives.

    Raises:
        UserError: if any row is long enough to hold the negatives.
    """
    rows = _as_lists(load_object_array(path), path)
    if any(len(row) > NEGATIVES_OF_FIRST_RELEASE for row in rows):
        raise UserError(
            f"{path}: looks like MMGCN's first release (user, {NEGATIVES_OF_FIRST_RELEASE} sampled negatives, "
            "positives), whose negatives are no interactions; take val_full.npy and test_full.npy"
        )
    return load_lists(path)

"""Feature files of a source folder: their modality names and their matrices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from recbole_painvrl.convert.raw import Feature, Words
from recbole_painvrl.convert.restricted import load_tensor, open_matrix
from recbole_painvrl.errors import UserError

MODALITY_NAMES = {
    **dict.fromkeys(("v", "image", "img", "video", "visual"), "visual"),
    **dict.fromkeys(("a", "audio", "acoustic"), "acoustic"),
    **dict.fromkeys(("t", "text", "textual"), "textual"),
}
PLAIN = re.compile(r"\w[\w.-]*")  # names of data sets
MODALITY = re.compile(r"\w[\w-]*")  # a dot would end the name in <data set>.<modality>.npy


def modality_name(stem: str) -> str:
    """Returns the modality of the file stem or letter ``stem``: visual, acoustic, textual or the stem itself."""
    return MODALITY_NAMES.get(stem.lower(), stem)


def find_features(files: Iterable[Path], name_of: Callable[[Path], str | None]) -> dict[str, Path]:
    """Returns the feature files by modality name, in alphabetical order.

    Args:
        files: the files of the folder.
        name_of: gives a file's modality name, or None if it is no feature file of the format.

    Raises:
        UserError: if two files claim one modality, or a name cannot be used in a file name.
    """
    found: dict[str, Path] = {}
    for path in sorted(files):
        name = name_of(path)
        if name is None:
            continue
        if not MODALITY.fullmatch(name):
            raise UserError(
                f"{path}: '{name}' cannot name a modality; use letters, digits, '_' and '-' in the file's name"
            )
        if name in found:
            raise UserError(f"{found[name]} and {path.name} are both modality '{name}': keep one of them")
        found[name] = path
    return dict(sorted(found.items()))


def load_array(path: Path) -> np.ndarray:
    """Returns the numbers of a ``.npy`` (mapped from disk) or ``.pt`` file."""
    return load_tensor(path) if path.suffix == ".pt" else open_matrix(path)


def load_feature(path: Path) -> Feature:
    """Returns the feature matrix [I, D] of a file.

    Raises:
        UserError: if it is not a matrix of real numbers, or is empty.
    """
    return as_feature(load_array(path), path)


def as_feature(values: np.ndarray, path: Path) -> Feature:
    """Returns ``values`` [I, D] as a feature, checked to be a matrix of real numbers that is not empty.

    Raises:
        UserError: It is not; the message names the file, its type and shape.
    """
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise UserError(f"{path}: expected a matrix (items, width) of numbers, found {values.dtype} {values.shape}")
    if not values.size:
        raise UserError(f"{path}: the matrix is empty, shape {values.shape}")
    return Feature(values, path.name)


def as_words(occurrences: np.ndarray, path: Path) -> Words:
    """Returns the word occurrences of an integer array [2, P]: item counted from 0 over word id.

    Raises:
        UserError: if the array is empty or an id is negative.
    """
    if not occurrences.size:
        raise UserError(f"{path}: no word in the file")
    if (occurrences < 0).any():
        column = int(np.flatnonzero((occurrences < 0).any(axis=0))[0])
        raise UserError(f"{path}: column {column} holds a negative id: {occurrences[:, column].tolist()}")
    return Words(occurrences[0].astype(np.int64), occurrences[1].astype(np.int64), path.name)


def is_words(values: np.ndarray) -> bool:
    """Says whether an array is a list of word occurrences [2, P] rather than a feature matrix [I, D]."""
    return values.ndim == 2 and values.shape[0] == 2 and values.dtype.kind in "iu"

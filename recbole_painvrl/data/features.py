"""Modality features in item-id order, matched by item token whatever the order of the file.

Letters: I items with the padding item 0, D feature width, W distinct words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recbole_painvrl.data.atomic import AtomicFormat, check_rows, read_header, read_text
from recbole_painvrl.data.encoders import Encoded, count_words, encode_number, encode_tags, encode_text
from recbole_painvrl.data.feature_files import AtomicFile, FeatureFile, NpyFile
from recbole_painvrl.data.feature_memory import blank_matrix
from recbole_painvrl.data.normalize import normalize
from recbole_painvrl.data.settings import resolve_settings
from recbole_painvrl.errors import UserError, nearest

# Numbers read at a time: 16 MB of float32.
_CHUNK = 2**22


@dataclass(frozen=True)
class Modality:
    """The features of all items in one modality.

    Attributes:
        name: Its name in the key ``modalities``.
        source: npy, atomic, text, tags, number or words.
        values: Features, float32 [I, D], normalized; row 0 is 0, items without features have the mean row of the
            others. None for the source words.
        words: Counts, float32 CSR [I, W], for the source words, whose vectors the model learns; else None. Items
            without words have an empty row.
        missing: Whether an item has no features, bool [I]; False for the padding item.
        names: Meaning of each dimension (tags, knots of a number) or the words; empty where there is none.
        table_dimension: Width of the learned word vectors; 0 for the other sources.
    """

    name: str
    source: str
    values: NDArray[Any] | None
    words: csr_matrix | None
    missing: NDArray[Any]
    names: tuple[str, ...] = ()
    table_dimension: int = 0

    @property
    def dimension(self) -> int:
        """Width of an item's feature vector: D, or that of the learned word vectors."""
        return self.table_dimension if self.values is None else self.values.shape[1]


@dataclass(frozen=True)
class Items:
    """The items of a data set as the features need them.

    Attributes:
        folder: The data folder.
        dataset: Name of the data set.
        tokens: Item tokens in id order, length I; entry 0 stands for padding and matches nothing.
        id_field: Name of the item column of ``<dataset>.item``.
        form: Separators of atomic files.
    """

    folder: Path
    dataset: str
    tokens: NDArray[Any]
    id_field: str
    form: AtomicFormat

    @property
    def path(self) -> Path:
        """The file of item metadata."""
        return self.folder / f"{self.dataset}.item"

    @cached_property
    def header(self) -> dict[str, str]:
        """Columns of the file of item metadata, which is checked at the first look.

        Raises:
            UserError: The file cannot be read, or has no column of items.
        """
        header = read_header(self.path, self.form)
        check_rows(self.path, self.form, len(header))
        if self.id_field not in header:
            raise UserError(f"{self.path}, line 1: no column {self.id_field!r}.{nearest(self.id_field, header)}")
        return header

    def texts(self, field: str) -> list[str]:
        """Returns a metadata column in item-id order, as text, length I; empty for items not in the file.

        Raises:
            UserError: The file or the column is missing, an item is there twice, or no item of the data set is there.
        """
        if field not in self.header:
            columns = f"there are {', '.join(self.header)}"
            raise UserError(f"{self.path}, line 1: no column {field!r} ({columns}).{nearest(field, self.header)}")
        frame = read_text(self.path, self.form, [self.id_field, field], self.header)
        frame = frame[frame[self.id_field] != ""]
        rows = match(self.tokens, frame[self.id_field], self.path, lambda row: f"line {frame.index[row] + 2}")
        texts = frame[field].to_numpy(dtype=object)
        return [texts[row] if row >= 0 else "" for row in rows]


def match(tokens: NDArray[Any], found: Any, path: Path, place: Any) -> NDArray[Any]:
    """Finds the row of each item in a file.

    Args:
        tokens: Item tokens in id order, length I; entry 0 is padding.
        found: The tokens of the file's rows, length n.
        path: The file, for messages.
        place: Tells where a row stands in the file, for messages.

    Returns:
        Row of each item, -1 if it has none, int64 [I].

    Raises:
        UserError: A token is there twice, or none of the file's tokens is an item of the data set.
    """
    index = pd.Index(np.asarray(found, dtype=object))
    if not index.is_unique:
        row = int(np.flatnonzero(index.duplicated())[0])
        first = place(int(np.flatnonzero(index == index[row])[0]))
        raise UserError(f"{path}, {place(row)}: the item {index[row]!r} is at {first} already; keep one of the rows")
    rows: NDArray[Any] = index.get_indexer(np.asarray(tokens, dtype=object))
    rows[0] = -1
    if (rows < 0).all():
        theirs, ours = ", ".join(map(repr, index[:3])), ", ".join(map(repr, tokens[1:4].tolist()))
        raise UserError(f"{path}: none of its items is in the data set; its items: {theirs}; the data set's: {ours}")
    return rows


def gather(
    file: FeatureFile, tokens: NDArray[Any], out: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Reads the rows of the data set's items, in item-id order.

    Args:
        file: The file of features.
        tokens: Item tokens in id order, length I; entry 0 is padding.
        out: Zeros float32 [I, D] to read into; None makes them.

    Returns:
        Features float32 [I, D] with zero rows for items without features, and which items those are, bool [I].

    Raises:
        UserError: Tokens are doubled or none matches, or a value is not finite.
    """
    rows = match(tokens, file.tokens, file.path, file.place)
    values = np.zeros((len(tokens), file.width), dtype=np.float32) if out is None else out
    items = np.flatnonzero(rows >= 0)
    items = items[np.argsort(rows[items])]
    step = max(1, _CHUNK // file.width)
    for start in range(0, len(items), step):
        chunk = items[start : start + step]
        block = file.take(rows[chunk])
        _check_finite(file, rows[chunk], block)
        values[chunk] = block
    missing = rows < 0
    missing[0] = False
    return values, missing


def _check_finite(file: FeatureFile, rows: NDArray[Any], block: NDArray[Any]) -> None:
    """Raises on the first value that is infinite or not a number."""
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        column = int(np.flatnonzero(~np.isfinite(block[bad]))[0])
        place = f"{file.path}, {file.place(rows[bad])} (item {file.tokens[rows[bad]]}), dimension {column}"
        raise UserError(f"{place}: {block[bad, column]} is not a finite float32; mend the value or drop the row")


def load_modalities(settings: Any, items: Items, seed: int, memory: str = "ram") -> dict[str, Modality]:
    """Loads all modalities that the key ``modalities`` names, and logs one line for each.

    The values of all of them are views of one matrix [I, D], side by side in order with room for words, so that
    whoever needs them together needs no copy.

    Args:
        settings: Value of the key, see :func:`recbole_painvrl.data.settings.resolve_settings`.
        items: The items of the data set.
        seed: The run's seed; the SVD of texts uses it.
        memory: The key ``feature_memory``.

    Returns:
        Modality by name, in the order of the key.

    Raises:
        UserError: A file, key or value is wrong; the message says which and where.
    """
    resolved = resolve_settings(settings, items.folder, items.dataset)
    sources = {name: _open(name, chosen, items, seed) for name, chosen in resolved.items()}
    ends = np.cumsum([0, *(_width(source) for source in sources.values())])
    matrix = blank_matrix((len(items.tokens), int(ends[-1])), memory, items.folder)
    places = (matrix[:, start:stop] for start, stop in pairwise(ends))
    return {
        name: _load(name, resolved[name], source, items, place)
        for (name, source), place in zip(sources.items(), places, strict=True)
    }


Source = FeatureFile | Encoded | Modality


def _width(source: Source) -> int:
    """Columns of a modality in the common matrix."""
    if isinstance(source, Encoded):
        return int(source.values.shape[1])
    return source.dimension if isinstance(source, Modality) else source.width


def _load(name: str, settings: Mapping[str, Any], source: Source, items: Items, place: NDArray[Any]) -> Modality:
    """Loads one modality into its ``place`` [I, D_m] in the common matrix."""
    if isinstance(source, Modality):
        return source
    if isinstance(source, Encoded):
        place[:] = source.values
        origin = f"{items.path.name}, column {settings['field'] or name}"
        return _finish(name, settings, replace(source, values=place), origin)
    return _load_file(name, settings, source, items, place)


def _open(name: str, settings: Mapping[str, Any], items: Items, seed: int) -> Source:
    """Opens the file of a modality, or encodes its metadata field."""
    if settings["source"] in ("npy", "atomic"):
        npy = settings["source"] == "npy"
        path = items.folder / (settings["file"] or f"{items.dataset}.{name}{'.npy' if npy else ''}")
        return NpyFile(path) if npy else AtomicFile(path, items.form, settings["field"])
    field = settings["field"] or name
    texts, origin = items.texts(field), f"{items.path.name}, column {field}"
    try:
        if settings["source"] == "words":
            return _count(name, settings, texts, items, origin)
        return _encode(settings, texts, items.form.seq_separator, seed)
    except UserError as error:
        raise UserError(f"{items.path}, column {field} (modality {name}): {error}") from error


def _load_file(
    name: str, settings: Mapping[str, Any], file: FeatureFile, items: Items, place: NDArray[Any]
) -> Modality:
    """Loads a modality from a file of features."""
    values, missing = gather(file, items.tokens, place)
    ignored = len(file.tokens) - int((~missing[1:]).sum())
    note = f"{ignored} rows of items that are not in the data set ignored ({_strangers(file, items)} ...)"
    return _finish(name, settings, Encoded(values, missing, note=note if ignored else ""), file.path.name)


def _strangers(file: FeatureFile, items: Items) -> str:
    """Names up to three tokens of a file that are no items of the data set."""
    known = set(items.tokens[1:].tolist())
    strange = (token for token in file.tokens if token not in known)
    return ", ".join(token for token, _ in zip(strange, range(3), strict=False))


def _encode(settings: Mapping[str, Any], texts: list[str], separator: str, seed: int) -> Encoded:
    """Encodes one metadata field."""
    if settings["source"] == "text":
        return encode_text(texts, settings["dimension"], seed)
    if settings["source"] == "number":
        return encode_number(texts, settings["dimension"])
    return encode_tags(texts, separator)


def _finish(name: str, settings: Mapping[str, Any], encoded: Encoded, origin: str) -> Modality:
    """Normalizes, reports and packs encoded features."""
    encoded.missing[0] = False
    normalize(encoded.values, encoded.missing, settings["normalize"])
    _report(name, encoded.values.shape, origin, encoded.missing, f"normalize {settings['normalize']}", encoded.note)
    return Modality(name, settings["source"], encoded.values, None, encoded.missing, encoded.names)


def _count(name: str, settings: Mapping[str, Any], texts: list[str], items: Items, origin: str) -> Modality:
    """Packs the word counts of a modality with learned word vectors."""
    words, names = count_words(texts, items.form.seq_separator)
    missing = np.diff(words.indptr) == 0
    missing[0] = False
    _report(name, words.shape, origin, missing, f"{settings['dimension']} learned dimensions", "")
    return Modality(name, "words", None, words, missing, names, settings["dimension"])


def _report(name: str, shape: tuple[int, ...], origin: str, missing: NDArray[Any], how: str, note: str) -> None:
    """Logs what was loaded."""
    line = f"{name}: {shape[0] - 1} x {shape[1]} from {origin}, {int(missing.sum())} items without features, {how}"
    getLogger().info(f"{line}; {note}" if note else line)

"""Raw folders of every format, most of them sound or nearly so."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

from tests.fuzz.damage import cells, maybe_damaged, odd, rarely, small

N_USERS, N_ITEMS = 4, 6
Files = dict[str, bytes | None]
DTYPES = ("float32", "float64", "float16", "int64", "uint8", ">f4", "bool", "complex64", "S3", "O", "M8[s]", "V4")
SPLITS = ("train", "valid", "test")
Pairs = list[tuple[int, int]]


@st.composite
def divided(draw: st.DrawFn) -> dict[str, Pairs]:
    """Returns three sets of pairs; most of the time they share none, and one may be empty."""
    pairs = draw(
        st.lists(
            st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), unique=True, min_size=3, max_size=14
        )
    )
    if draw(rarely(st.just(False), st.just(True), 8)):  # somebody has everything
        pairs += [(0, item) for item in range(N_ITEMS) if (0, item) not in pairs]
    labels = draw(st.lists(st.integers(0, 2), min_size=len(pairs), max_size=len(pairs)))
    pairs = draw(rarely(st.just(pairs), st.just([*pairs, *pairs[:1]]), 10))
    labels += [1] * (len(pairs) - len(labels))
    labels[:3] = draw(rarely(st.just([0, 1, 2]), st.just(labels[:3]), 8))
    parts = {name: [pair for pair, one in zip(pairs, labels, strict=True) if one == k] for k, name in enumerate(SPLITS)}
    return parts


@st.composite
def saved(draw: st.DrawFn, rows: int = N_ITEMS) -> bytes:
    """Returns a feature matrix as ``.npy``; seldom of another length, type, shape, or with what is no number."""
    shape: tuple[int, ...] = (rows, draw(st.integers(1, 3)))
    shape = draw(
        rarely(st.just(shape), st.sampled_from([(rows,), (rows, 0), (0, 2), (1, 2), (rows + 1, 2), (2, 2, 2), ()]))
    )
    kind = draw(rarely(st.sampled_from(DTYPES[:4]), st.sampled_from(DTYPES), 6))
    values = np.asarray(np.arange(int(np.prod(shape))).reshape(shape) % 7)  # of shape (), % makes a plain number
    array = np.full(shape, 2.5) if draw(st.booleans()) else values  # constant columns are features too
    array = array.astype(kind)
    if array.dtype.kind == "f" and array.size:
        array.flat[0] = draw(rarely(st.just(1.0), st.sampled_from([np.nan, np.inf, -np.inf, 6e4]), 8))
    return as_npy(np.asfortranarray(array) if draw(st.booleans()) else array)


def as_npy(array: np.ndarray) -> bytes:
    """Returns an array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@st.composite
def table(draw: st.DrawFn, columns: list[str], rows: list[list[str]], separator: str) -> bytes:
    """Returns a text table; seldom with an odd cell, a cell too many or too few, or an odd column name."""
    lines = [list(columns), *(list(row) for row in rows)]
    if draw(rarely(st.just(False), st.just(True), 4)):
        line = draw(st.integers(0, len(lines) - 1))
        place = draw(st.integers(0, len(lines[line]) - 1))
        change = draw(st.sampled_from(("cell", "cell", "cell", "more", "fewer")))
        if change == "cell":
            lines[line][place] = draw(cells)
        else:
            lines[line] = lines[line] + ["1"] if change == "more" else lines[line][:-1]
    end = draw(st.sampled_from(("\n", "\n", "\n", "\r\n", "\n\n")))
    return end.join(separator.join(line) for line in lines).encode("utf-8", "replace") + end.encode()


EXTRA = {
    "rating": ("1", "2.5", "1e3"),
    "timestamp": ("10", "20.5", "1700000000"),
    "session_id": ("a", "b", "s 1"),
    "environment": ("0", "1"),
    "note": ("x", "", "a b", "ä", '"q"'),
    "note:float": ("1", "2"),
    "tags:token_seq": ("a b", "", "c"),
    "label": ("1", "0"),
    "words": ("1", "2"),
    "item_id": ("1", "2"),
}


@st.composite
def with_extras(draw: st.DrawFn, key: list[str], rows: list[list[str]], separator: str) -> bytes:
    """Returns a table of the rows with up to two more columns."""
    extra = draw(st.lists(st.sampled_from(sorted(EXTRA)), unique=True, max_size=2))
    full = [row + [draw(st.sampled_from(EXTRA[name])) for name in extra] for row in rows]
    return draw(table([*key, *extra], full, separator))


@st.composite
def csv_folder(draw: st.DrawFn) -> Files:
    """Returns a folder of format ``csv``."""
    parts = draw(divided())
    files: dict[str, bytes] = {}
    if draw(st.booleans()):
        parts = {"interactions": [pair for pairs in parts.values() for pair in pairs]}
    for name, pairs in parts.items():
        rows = [[str(user), str(item)] for user, item in pairs]
        files[f"{name}.csv"] = draw(with_extras(["user", "item"], rows, ","))
    for letter in draw(st.lists(st.sampled_from(("v", "a", "text", "x-1")), unique=True, max_size=2)):
        files[f"{letter}_feat.npy"] = draw(saved())
    for name, key, number in (("items.csv", "item", N_ITEMS), ("users.csv", "user", N_USERS)):
        if draw(rarely(st.just(False), st.just(True), 3)):
            ids = draw(st.lists(st.integers(0, number - 1), unique=True))
            files[name] = draw(with_extras([key], [[str(one)] for one in ids], ","))
    if draw(rarely(st.just(False), st.just(True), 4)):
        rows = [[str(item), str(item * 7)] for item in draw(st.lists(small, max_size=5))]
        files["t_words.csv"] = draw(table(["item", "word"], rows, ","))
    return draw(maybe_damaged(files))


@st.composite
def mmrec_folder(draw: st.DrawFn) -> Files:
    """Returns a folder of format ``mmrec``."""
    parts = draw(divided())
    rows = [[str(u), str(i), str(label)] for label, pairs in enumerate(parts.values()) for u, i in pairs]
    files = {"baby.inter": draw(with_extras(["userID", "itemID", "x_label"], rows, "\t"))}
    for name in draw(st.lists(st.sampled_from(("image_feat", "text_feat", "vggish")), unique=True, max_size=2)):
        files[f"{name}.npy"] = draw(saved(1 + max((item for pairs in parts.values() for _, item in pairs), default=0)))
    return draw(maybe_damaged(files))


@st.composite
def oddly(draw: st.DrawFn, value: Any, of: int = 10) -> Any:
    """Returns a list or dict, seldom with one entry, or all of it, changed to something odd."""
    if draw(st.integers(1, of)) < of:
        return value
    other = draw(odd)
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], other, *value[place + 1 :]]
    if isinstance(value, dict) and value and draw(st.booleans()):
        return value | {draw(st.sampled_from(sorted(value))): other}
    return other


@st.composite
def mmgcn_folder(draw: st.DrawFn) -> Files:
    """Returns a folder of format ``mmgcn``."""
    parts = draw(divided())
    offset = draw(rarely(st.just(N_USERS), st.sampled_from((0, 3, 5)), 6))
    files: dict[str, bytes] = {}
    if draw(st.booleans()):
        train = np.array([(user, item + offset) for user, item in parts["train"]])
        files["train.npy"] = as_npy(train.reshape(-1, 2) if draw(st.booleans()) else train)
        for name, file in (("valid", "val_full.npy"), ("test", "test_full.npy")):
            files[file] = as_npy(_ragged(draw(oddly(_lists(parts[name], offset, draw)))))
    if not files or draw(st.booleans()):
        pairs = parts["train"] if files else [pair for pairs in parts.values() for pair in pairs]
        kind = draw(st.sampled_from((list, set, tuple, np.array)))
        mapping = {user: kind([item + offset for other, item in pairs if other == user]) for user, _ in pairs}
        files["user_item_dict.npy"] = as_npy(np.array(draw(oddly(mapping)), dtype=object))
    for name in draw(st.lists(st.sampled_from(("FeatureVideo_normal", "feat_a", "t_feat")), unique=True, max_size=2)):
        files[f"{name}.npy"] = draw(saved())
    return draw(maybe_damaged(files))


def _lists(pairs: Pairs, offset: int, draw: st.DrawFn) -> list[Any]:
    rows = [[user, *(item + offset for other, item in pairs if other == user)] for user in sorted(dict(pairs))]
    return [draw(oddly(row, 20)) for row in rows]


def _ragged(rows: Any) -> np.ndarray:
    if not isinstance(rows, list):
        return np.array(rows, dtype=object)
    array = np.empty(len(rows), dtype=object)
    for place, row in enumerate(rows):
        array[place] = row
    return array


@st.composite
def mmssl_folder(draw: st.DrawFn) -> Files:
    """Returns a folder of format ``mmssl``: JSON objects, DiffMM's matrices, or one level down."""
    parts = draw(divided())
    files = draw(_matrices(parts) if draw(st.booleans()) else _json(parts))
    inner = draw(rarely(st.just(""), st.just("5-core/"), 4))
    files = {inner + name: data for name, data in files.items()}
    for name in draw(st.lists(st.sampled_from(("image_feat", "text_feat")), unique=True, max_size=2)):
        files[f"{name}.npy"] = draw(saved())
    return draw(maybe_damaged(files))


@st.composite
def _json(draw: st.DrawFn, parts: dict[str, Pairs]) -> dict[str, bytes]:
    files = {}
    for name, file in (("train", "train.json"), ("valid", "val.json"), ("test", "test.json")):
        lists = {str(user): [item for other, item in parts[name] if other == user] for user in range(N_USERS)}
        lists = draw(oddly({user: draw(oddly(items, 20)) for user, items in lists.items()}))
        files[file] = json.dumps(lists, default=str).encode()
    if draw(rarely(st.just(False), st.just(True), 4)):
        files["train_mat"] = draw(_pickled(parts["train"]))
    return files


@st.composite
def _matrices(draw: st.DrawFn, parts: dict[str, Pairs]) -> dict[str, bytes]:
    names = (("train", "trnMat.pkl"), ("valid", "valMat.pkl"), ("test", "tstMat.pkl"))
    return {file: draw(_pickled(parts[name])) for name, file in names}


@st.composite
def _pickled(draw: st.DrawFn, pairs: Pairs) -> bytes:
    """Returns a pickled matrix; seldom with an attribute that no scipy would have written."""
    users, items = (np.array([pair[side] for pair in pairs], dtype=np.int32) for side in (0, 1))
    matrix = sparse.coo_matrix((np.ones(len(pairs)), (users, items)), shape=(N_USERS, N_ITEMS))
    matrix = matrix.asformat(draw(st.sampled_from(("coo", "csr", "csc"))))
    if draw(st.integers(1, 6)) == 6:
        name = draw(st.sampled_from(("_shape", "data", "row", "indices", "indptr", "coords")))
        value = draw(odd | st.sampled_from([np.array([-1]), np.array([2**40]), (2**40, 2**40), (-1, 5), (True, 2)]))
        matrix.__dict__[name] = value
    return pickle.dumps(matrix, protocol=draw(st.sampled_from((2, 4, 5))))

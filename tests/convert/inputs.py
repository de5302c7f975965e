"""One tiny data set, written as each raw format has it.

Four users, six items; item 2 has features only, item 4 is cold in the test set. Letters: N pairs, U users, I items.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

N_USERS, N_ITEMS = 4, 6
SPLITS = {
    "train": [(0, 0), (0, 5), (1, 1), (1, 3), (2, 0), (3, 3)],
    "valid": [(0, 1), (2, 5)],
    "test": [(0, 3), (1, 4), (3, 0)],
}
VISUAL = np.arange(12, dtype=np.float32).reshape(6, 2) / 8
TEXTUAL = np.arange(18, dtype=np.float32).reshape(6, 3) - 4
WORDS = np.array([[0, 0, 0, 1, 2, 3, 4, 5], [7, 9, 7, 7, 3, 3, 2, 11]])


def write_csv(folder: Path) -> None:
    """The layout of plain tables."""
    for name, pairs in SPLITS.items():
        text = "user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs)
        (folder / f"{name}.csv").write_text(text)
    np.save(folder / "v_feat.npy", VISUAL)
    np.save(folder / "t_feat.npy", TEXTUAL)


def lists(pairs: list[tuple[int, int]], offset: int) -> np.ndarray:
    """Returns the ragged object array of ``[user, item + offset, ...]``, as ``val_full.npy`` holds it."""
    rows = [[user, *(item + offset for other, item in pairs if other == user)] for user in sorted(dict(pairs))]
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def mapping(pairs: list[tuple[int, int]], offset: int, kind: type = list) -> np.ndarray:
    """Returns the 0-dimensional object array of a dict, as ``user_item_dict.npy`` holds it."""
    return np.array({user: kind(item + offset for other, item in pairs if other == user) for user, _ in pairs})


def write_mmgcn(folder: Path) -> None:
    """The layout of MMGCN's full sets: item ids behind the users'."""
    np.save(folder / "train.npy", np.array([(user, item + N_USERS) for user, item in SPLITS["train"]]))
    np.save(folder / "val_full.npy", lists(SPLITS["valid"], N_USERS))
    np.save(folder / "test_full.npy", lists(SPLITS["test"], N_USERS))
    np.save(folder / "user_item_dict.npy", mapping(SPLITS["train"], N_USERS, set))
    np.save(folder / "FeatureVideo_normal.npy", VISUAL)
    np.save(folder / "FeatureText_stl_normal.npy", TEXTUAL)


def write_features(folder: Path) -> None:
    """The feature files of MMSSL, DiffMM, LATTICE and MMRec."""
    np.save(folder / "image_feat.npy", VISUAL)
    np.save(folder / "text_feat.npy", TEXTUAL)


def write_json(folder: Path) -> None:
    """MMSSL's JSON objects; users without held-out item have an empty list."""
    for name, file in (("train", "train.json"), ("valid", "val.json"), ("test", "test.json")):
        by_user = {str(user): [item for other, item in SPLITS[name] if other == user] for user in range(N_USERS)}
        (folder / file).write_text(json.dumps(by_user))


def write_mmssl(folder: Path) -> None:
    """MMSSL's folder, with the pickled training matrix that has no suffix."""
    write_json(folder)
    (folder / "train_mat").write_bytes(pickle.dumps(matrix(SPLITS["train"]).tocsr()))
    write_features(folder)


def write_lattice(folder: Path) -> None:
    """LATTICE's folder, splits one level down."""
    (folder / "5-core").mkdir()
    write_json(folder / "5-core")
    write_features(folder)


def matrix(pairs: list[tuple[int, int]]) -> sparse.coo_matrix:
    """Returns the user x item matrix of ones, [U, I]."""
    users, items = zip(*pairs, strict=True)
    return sparse.coo_matrix((np.ones(len(pairs)), (users, items)), shape=(N_USERS, N_ITEMS))


def write_diffmm(folder: Path) -> None:
    """DiffMM's pickled matrices."""
    for name, file in (("train", "trnMat.pkl"), ("valid", "valMat.pkl"), ("test", "tstMat.pkl")):
        (folder / file).write_bytes(pickle.dumps(matrix(SPLITS[name])))
    write_features(folder)


def write_mmrec(folder: Path) -> None:
    """MMRec's interaction table."""
    rows = [(user, item, label) for label, pairs in enumerate(SPLITS.values()) for user, item in pairs]
    text = "userID\titemID\tx_label\n" + "".join(f"{u}\t{i}\t{label}\n" for u, i, label in sorted(rows))
    (folder / "baby.inter").write_text(text)
    write_features(folder)


Writer = Callable[[Path], None]
WRITERS: dict[str, tuple[str, Writer]] = {
    "csv": ("csv", write_csv),
    "mmgcn": ("mmgcn", write_mmgcn),
    "mmssl": ("mmssl", write_mmssl),
    "lattice": ("mmssl", write_lattice),
    "diffmm": ("mmssl", write_diffmm),
    "mmrec": ("mmrec", write_mmrec),
}


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of every file of a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

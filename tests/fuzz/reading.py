"""The readers of a data folder: atomic files, feature files, encoded metadata, and the keys that say how to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from recbole_painvrl.config import Config
from recbole_painvrl.data.dataset import MultimodalDataset
from tests.fuzz.conversion import write
from tests.fuzz.damage import cells, maybe_damaged, odd, rarely
from tests.fuzz.sources import Files, as_npy, saved, table
from tests.fuzz.target import Target

NAME = "made"
USERS, ITEMS = ("u1", "u2", "ü3", "4"), ("i1", "i2", "i 3", "ï4", "5", "NA?")
WHOLE_COLUMNS = ["user_id:token", "item_id:token", "rating:float", "timestamp:float", "environment:token"]
ITEM_COLUMNS = ["item_id:token", "title:token_seq", "tags:token_seq", "year:float", "price:float_seq"]
TITLES, TAGS = ("a b", "The M", "", "x", "ö ß", "the the"), ("1", "1 2", "", "é")
YEARS, PRICES = ("1999", "2000.5", "", "1999"), ("1 2", "0.5 3", "", "1")


@dataclass(frozen=True, repr=False)
class Folder:
    """Files of a data folder and the keys that it is loaded with."""

    files: Files
    keys: dict[str, Any]
    sources: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Shows the keys first, which matter most where the files are sound."""
        return f"Folder(keys={self.keys}, sources={self.sources}, files={self.files})"


@st.composite
def interactions(draw: st.DrawFn) -> bytes:
    """Returns an ``.inter`` file, of one user or one item at times."""
    users = draw(rarely(st.just(USERS), st.just(USERS[:1]), 8))
    items = draw(rarely(st.just(ITEMS), st.just(ITEMS[:1]), 8))
    pairs = [(user, item) for user in users for item in items]
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=12, unique=draw(st.booleans())))
    number = draw(st.integers(2, len(WHOLE_COLUMNS)))
    rows = [[user, item, "3", str(time), "ab"[time % 2]] for time, (user, item) in enumerate(chosen)]
    return draw(table(WHOLE_COLUMNS[:number], [row[:number] for row in rows], "\t"))


@st.composite
def metadata(draw: st.DrawFn) -> bytes:
    """Returns an ``.item`` file of some of the items, and maybe of a stranger."""
    listed = draw(st.lists(st.sampled_from((*ITEMS, "stranger")), unique=True, min_size=1))
    columns = (TITLES, TAGS, YEARS, PRICES)
    rows = [[item, *(draw(st.sampled_from(values)) for values in columns)] for item in listed]
    return draw(table(ITEM_COLUMNS, rows, "\t"))


@st.composite
def features(draw: st.DrawFn, kind: str) -> Files:
    """Returns the files of one modality ``look``, aligned by token and in any order."""
    listed = draw(st.lists(st.sampled_from((*ITEMS, "stranger")), unique=draw(st.booleans()), min_size=1, max_size=8))
    if kind == "npy":
        ids = "\n".join(listed) + draw(st.sampled_from(("\n", "\n", "", "\n\n")))
        return {f"{NAME}.look.npy": draw(saved(len(listed))), f"{NAME}.look.ids": ids.encode()}
    width = draw(st.integers(1, 3))
    numbers = st.sampled_from(("0", "1.5", "-2e-3", "7"))
    rows = [[item, " ".join(draw(numbers) for _ in range(width))] for item in listed]
    odd_rows = [[item, draw(rarely(st.just(cell), cells, 12))] for item, cell in rows]
    return {f"{NAME}.look": draw(table(["item_id:token", "look:float_seq"], odd_rows, "\t"))}


MODALITIES: dict[str, Any] = {
    "npy": {"look": {"source": "npy"}},
    "atomic": {"look": {"source": "atomic"}},
    "text": {"title": {"source": "text", "dimension": 3}},
    "tags": {"tags": {"source": "tags"}},
    "number": {"year": {"source": "number", "dimension": 4}},
    "words": {"w": {"source": "words", "field": "tags", "dimension": 3}},
}
NORMALIZATIONS = ("l2", "centered", "standard", "minmax", "none")


@st.composite
def folders(draw: st.DrawFn, sources: tuple[str, ...]) -> Folder:
    """Returns a data folder with the modalities of ``sources``."""
    files: dict[str, bytes] = {f"{NAME}.inter": draw(interactions())}
    modalities: dict[str, Any] = {}
    for source in sources:
        (name, settings), *_ = MODALITIES[source].items()
        modalities[name] = dict(settings)
        if source != "words" and draw(st.booleans()):
            modalities[name]["normalize"] = draw(st.sampled_from(NORMALIZATIONS))
        if source in ("npy", "atomic"):
            files |= draw(features(source))  # type: ignore[arg-type]  # no folder among them
    if set(sources) - {"npy", "atomic"} or draw(st.booleans()):
        files[f"{NAME}.item"] = draw(metadata())
    loaded = {
        "inter": ["user_id", "item_id"],
        "item": draw(st.sampled_from((["item_id"], ["item_id", "year", "price"]))),
    }
    keys: dict[str, Any] = {"modalities": modalities, "load_col": draw(st.sampled_from((loaded, None)))}
    if f"{NAME}.item" not in files and keys["load_col"]:
        del keys["load_col"]["item"]
    return Folder(draw(maybe_damaged(files)), keys, sources)


@st.composite
def split_folders(draw: st.DrawFn) -> Folder:
    """Returns a data folder that is split into three or four files."""
    names = ["train", "valid", "test", *draw(st.sampled_from(((), ("test_ood",))))]
    files = {f"{NAME}.{name}.inter": draw(interactions()) for name in names}
    keys = {"benchmark_filename": names, "modalities": {}, "load_col": None}
    return Folder(draw(maybe_damaged(files)), keys)


# keys that say how files are read, what is filtered, and values that mean nothing there
HOW: dict[str, tuple[Any, ...]] = {
    "field_separator": ("\t", ",", "::", "||", "", "|", "\n", '"', " ", "é", None, 3),
    "seq_separator": (" ", "", ",", "\t", None, 5, "||"),
    "encoding": ("utf-8", "latin-1", "utf-16", "ascii", "hex", "no such", "", None, 8),
    "load_col": (
        {},
        {"inter": []},
        {"inter": ["user_id"]},
        {"inter": ["user_id", "item_id", "no"]},
        {"item": ["item_id"]},
        {"inter": None},
        {"inter": "user_id"},
        {"no": ["x"]},
        {3: 4},
    ),
    "unload_col": ({"inter": ["timestamp"]}, {"inter": ["user_id"]}, {"inter": "x"}, {}),
    "val_interval": (
        {"rating": "[3,inf)"},
        {"rating": "[9,inf)"},
        {"rating": "x"},
        {"no": "[1,2]"},
        {"rating": 3},
        {3: 4},
    ),
    "threshold": ({"rating": 3}, {"rating": "x"}, {"no": 3}, {}, {"rating": None}),
    "user_inter_num_interval": ("[0,inf)", "[2,inf)", "[99,inf)", "[2", "x", "(,)", "[a,b]", 3),
    "item_inter_num_interval": ("[0,3]", "[-1,1];[2,3]", "[3,1]", "["),
    "filter_inter_by_user_or_item": (True, False),
    "rm_dup_inter": (None, "first", "last"),
    "normalize_field": (["rating"], ["no"], [], None, ["environment"]),
    "normalize_all": (True, False, None),
    "seq_len": ({"title": 1}, {"title": 0}, {"title": -1}, {"title": "x"}, {"no": 3}, 3),
    "USER_ID_FIELD": ("user_id", "rating", "no", "", "item_id"),
    "ITEM_ID_FIELD": ("item_id", "no", None),
    "RATING_FIELD": ("rating", "no"),
    "TIME_FIELD": ("timestamp", "user_id"),
    "LABEL_FIELD": ("label", "rating", "user_id"),
    "alias_of_user_id": (["friend"], ["item_id"], ["environment"], "x", []),
    "alias_of_item_id": (["item_id"], ["environment"], 3),
    "benchmark_filename": (["train", "valid", "test"], ["a", "b"], ["../x", "y", "z"], ["", "a", "b"], "x"),
    "additional_feat_suffix": (["item"], ["no"], [], "x", None),
    "preload_weight": ({"item_id": "price"}, {"no": "x"}, {}, {3: 4}),
    "numerical_features": (["rating"], ["no"], 3),
    "discretization": (None, {"rating": {"method": "ED", "bucket": 2}}, {"rating": 3}, 3),
    "modalities": (
        None,
        [],
        {},
        ["look"],
        ["no"],
        {"a/b": None},
        {"": None},
        {3: None},
        {"look": 3},
        {"look": {"source": 3}},
        {"look": {"no": 1}},
        {"look": {"file": "../x"}},
        {"look": {"file": "/etc/passwd"}},
        {"title": {"source": "text", "dimension": 10**9}},
        {"title": {"source": "text", "dimension": 0}},
        {"year": {"source": "number", "dimension": 10**12}},
        {"year": {"source": "number", "field": ["year"]}},
        {"title": {"source": "number"}},
        {"year": {"source": "tags"}},
    ),
}


@st.composite
def keyed_folders(draw: st.DrawFn) -> Folder:
    """Returns a sound folder and odd keys."""
    files: Files = {
        f"{NAME}.inter": _text(
            WHOLE_COLUMNS, [[u, i, "34"[k % 2], str(k), "ab"[k % 2]] for k, (u, i) in enumerate(_PAIRS)]
        ),
        f"{NAME}.item": _text(ITEM_COLUMNS, [[item, "a b", "1 2", "1999", "1 2"] for item in ITEMS]),
        f"{NAME}.look.npy": as_npy(np.arange(12.0).reshape(6, 2)),
        f"{NAME}.look.ids": "\n".join(ITEMS).encode(),
    }
    names = draw(st.lists(st.sampled_from(sorted(HOW)), unique=True, min_size=1, max_size=2))
    values = {name: draw(st.sampled_from(HOW[name]) if draw(st.integers(1, 6)) < 6 else odd) for name in names}
    return Folder(files, {"modalities": {}, "load_col": None} | values)


_PAIRS = [(user, item) for user in USERS for item in ITEMS if (len(user) + len(item)) % 2 == 0 or user == "u1"]


def _text(columns: list[str], rows: list[list[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in [columns, *rows]).encode()


def check(case: Folder, folder: Path) -> None:
    """Loads a data folder and checks that ids, numbers and features are what they should be."""
    write(case.files, folder / NAME)
    fixed = {
        "data_path": str(folder),
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "output_dir": str(folder),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        dataset = MultimodalDataset(Config("PaInvRL", NAME, config_dict=fixed | case.keys))
    check_loaded(dataset)
    for source in case.sources:
        (name, _), *_ = MODALITIES[source].items()
        assert name in dataset.modalities


def check_loaded(dataset: Any) -> None:
    """Makes sure that ids are in range, that no number is NaN, and that features are aligned and finite."""
    for field, number in ((dataset.uid_field, dataset.user_num), (dataset.iid_field, dataset.item_num)):
        ids = dataset.inter_feat[field].to_numpy() if hasattr(dataset.inter_feat, "columns") else None
        ids = np.asarray(dataset.inter_feat[field]) if ids is None else ids
        assert len(ids) and ids.min() >= 0 and ids.max() < number == len(dataset.field2id_token[field])
    for modality in dataset.modalities.values():
        assert len(modality.missing) == dataset.item_num and not modality.missing[0]
        if modality.values is None:
            assert modality.words is not None and np.isfinite(modality.words.data).all()
            continue
        assert modality.values.shape == (dataset.item_num, modality.dimension) and modality.dimension > 0
        assert np.isfinite(modality.values).all() and not modality.values[0].any()
    for feat in (getattr(dataset, name) for name in dataset.feat_name_list):
        for field, values in feat.items():
            kind = dataset.field2type[field].value
            if kind == "float":
                numbers = np.array([np.ravel(value) for value in values], dtype=np.float64)  # a pair where discrete
                assert np.isfinite(numbers).all(), f"{field} holds what is not finite"


NAMES = (NAME, *HOW, r"--\w", "configuration of")
TARGETS = [
    Target("atomic files", folders(()), check, 20, 800, NAMES),
    Target("atomic files, split", split_folders(), check, 20, 700, NAMES),
    Target("features npy", folders(("npy",)), check, 20, 600, NAMES),
    Target("features atomic", folders(("atomic",)), check, 20, 600, NAMES),
    Target("features of metadata", folders(("text", "tags", "number", "words")), check, 20, 700, NAMES),
    Target("keys of reading", keyed_folders(), check, 30, 1_000, NAMES),
]

"""Converters: a source folder becomes a whole data set that can be loaded, or nothing at all."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from recbole_painvrl.config import Config
from recbole_painvrl.convert import convert
from recbole_painvrl.convert.summary import Summary
from recbole_painvrl.data.dataset import MultimodalDataset
from recbole_painvrl.errors import UserError
from tests.fuzz import sources
from tests.fuzz.damage import NUMBERS, rarely
from tests.fuzz.sources import Files
from tests.fuzz.target import Target

NAME = "made"
MARK = "the data set that was there before"


@dataclass(frozen=True)
class Source:
    """A raw folder and the options that go with it."""

    format: str
    files: Files
    options: dict[str, Any]


def _options(format: str) -> st.SearchStrategy[dict[str, Any]]:
    """Returns options, most of the time none; mmgcn's samples need an offset more often."""
    numbers = st.sampled_from([*NUMBERS, 4, 6, 7])
    flags = {"overwrite": st.booleans(), "swap_labels": st.booleans(), "keep_labels": st.booleans(), "n_items": numbers}
    own = {
        "mmgcn": {"item_offset": st.sampled_from((0, 4)) | numbers},
        "mmssl": {"core": st.sampled_from((5, 1)) | numbers},
    }
    return rarely(st.just({}), st.fixed_dictionaries({}, optional=flags | own.get(format, {})), 4)


def write(files: Files, folder: Path) -> None:
    """Writes the files; None stands for a folder."""
    folder.mkdir()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if data is None:
            path.mkdir()
        else:
            path.write_bytes(data)


def check(source: Source, folder: Path) -> None:
    """Converts a folder and checks what came of it; a data set of the name is there before where it may be replaced."""
    write(source.files, folder / "raw")
    parent = folder / "dataset"
    if source.options.get("overwrite"):
        (parent / NAME).mkdir(parents=True)
        (parent / NAME / "old").write_text(MARK)
    before = _contents(parent)
    try:
        summary = convert(source.format, folder / "raw", NAME, parent, **source.options)
    except UserError:
        assert _contents(parent) == before, "a refusal left something behind or changed what was there"
        raise
    assert [path.name for path in parent.iterdir()] == [NAME]
    assert not (parent / NAME / "old").exists()
    check_files(parent / NAME, summary)
    check_pairs(source, parent / NAME)
    check_loads(parent, summary)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} | {
        str(path): b"" for path in sorted(folder.rglob("*")) if path.is_dir()
    }


def check_files(folder: Path, summary: Summary) -> None:
    """Makes sure that the written files agree with each other and with the summary."""
    items = [row["item_id:token"] for row in _rows(folder / f"{NAME}.item")]
    assert len(items) == len(set(items)) == summary.items
    seen: list[tuple[str, str]] = []
    for split, counts in summary.splits.items():
        rows = _rows(folder / (f"{NAME}.inter" if split == "all" else f"{NAME}.{split}.inter"))
        pairs = [(row["user_id:token"], row["item_id:token"]) for row in rows]
        assert len(pairs) == len(set(pairs)) == counts.interactions > 0
        assert {item for _, item in pairs} <= set(items)
        seen += pairs if not split.startswith("test_") else []
    assert len(seen) == len(set(seen)), "splits share pairs"
    for path in folder.glob("*.npy"):
        values = np.load(path, allow_pickle=False)
        assert np.isfinite(values).all() and path.with_suffix(".ids").read_text().split() == items


def check_pairs(source: Source, folder: Path) -> None:
    """Makes sure that every pair of a source of text tables was written, as an independent reader finds them."""
    tables = {name: data for name, data in source.files.items() if data and name.endswith((".inter", ".csv"))}
    found = set()
    for name, data in tables.items():
        rows = csv.DictReader(
            io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter="\t" if name.endswith(".inter") else ","
        )
        user, item = ("userID", "itemID") if name.endswith(".inter") else ("user", "item")
        if name not in ("items.csv", "users.csv", "t_words.csv"):
            found |= {(int(row[user]), int(row[item])) for row in rows}
    written = {
        (int(row["user_id:token"]), int(row["item_id:token"])) for path in folder.glob("*.inter") for row in _rows(path)
    }
    assert not tables or found == written, f"read {sorted(found)}, wrote {sorted(written)}"


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert all(None not in row and None not in row.values() for row in rows), f"{path.name}: rows of different widths"
    return rows


def check_loads(parent: Path, summary: Summary) -> None:
    """Makes sure that training would read what was written, and all of it."""
    keys = {"data_path": str(parent), "use_gpu": False, "show_progress": False, "state": "ERROR"}
    try:
        dataset = MultimodalDataset(Config("PaInvRL", NAME, config_dict=keys))
    except UserError as error:
        raise AssertionError(f"a converted data set cannot be loaded: {error}") from error
    assert dataset.item_num - 1 == summary.items
    assert len(dataset.inter_feat) == sum(counts.interactions for counts in summary.splits.values())
    for modality in dataset.modalities.values():
        if modality.values is not None:
            assert np.isfinite(modality.values).all() and len(modality.values) == summary.items + 1


def _target(format: str, folders: st.SearchStrategy[Files]) -> Target:
    cases = st.builds(Source, st.just(format), folders, _options(format))
    return Target(
        f"convert {format}", cases, check, 40, 1_500, (r"raw", r"--\w", r"\.(csv|npy|json|pkl|inter)\b", "train_mat")
    )


TARGETS = [
    _target("csv", sources.csv_folder()),
    _target("mmgcn", sources.mmgcn_folder()),
    _target("mmssl", sources.mmssl_folder()),
    _target("mmrec", sources.mmrec_folder()),
]

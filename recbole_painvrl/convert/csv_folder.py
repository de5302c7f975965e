"""Format ``csv``: plain tables beside feature matrices, row i = item i.

``train.csv valid.csv test.csv`` and any ``test_<x>.csv``, or one ``interactions.csv``; ``items.csv``, ``users.csv``,
``t_words.csv`` (item, word) and ``<x>_feat.npy`` where there are any.
"""

from __future__ import annotations

from pathlib import Path

from recbole_painvrl.convert.modalities import as_words, find_features, load_feature, modality_name
from recbole_painvrl.convert.raw import FIRST_SPLITS, WHOLE, Options, RawData, Split, Words
from recbole_painvrl.convert.tables import read_interactions, read_metadata
from recbole_painvrl.errors import UserError


def read(folder: Path, options: Options) -> RawData:
    """Returns the data of a folder of CSV tables."""
    items, users = folder / "items.csv", folder / "users.csv"
    features = find_features(folder.iterdir(), _modality)
    return RawData(
        splits={name: _split(path) for name, path in _split_files(folder).items()},
        features={name: load_feature(path) for name, path in features.items()},
        words=_words(folder / "t_words.csv"),
        items=read_metadata(items, "item") if items.exists() else None,
        users=read_metadata(users, "user") if users.exists() else None,
    )


def _split(path: Path) -> Split:
    table = read_interactions(path)
    return Split(table, path.name, range(1, len(table) + 1))


def _split_files(folder: Path) -> dict[str, Path]:
    """Returns the interaction files by split.

    Raises:
        UserError: if files are missing, or both layouts are there.
    """
    whole = folder / "interactions.csv"
    named = {name: folder / f"{name}.csv" for name in FIRST_SPLITS}
    missing = [path.name for path in named.values() if not path.exists()]
    if whole.exists() and len(missing) < len(named):
        raise UserError(f"{folder}: holds interactions.csv and a split of it; move one of the two away")
    if whole.exists():
        return {WHOLE: whole}
    if missing:
        raise UserError(
            f"{folder}: {', '.join(missing)} not found; expected train.csv, valid.csv and test.csv, or interactions.csv"
        )
    return named | {path.stem: path for path in sorted(folder.glob("test_*.csv"))}


def _modality(path: Path) -> str | None:
    return modality_name(path.stem.removesuffix("_feat")) if path.name.endswith("_feat.npy") else None


def _words(path: Path) -> Words | None:
    if not path.exists():
        return None
    return as_words(read_interactions(path, ids=("item", "word"))[["item", "word"]].to_numpy().T, path)

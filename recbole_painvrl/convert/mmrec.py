"""Format ``mmrec``: one tab-separated ``.inter`` with a split label in each row, beside one ``.npy`` an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recbole_painvrl.convert.modalities import find_features, load_feature, modality_name
from recbole_painvrl.convert.raw import FIRST_SPLITS, Options, RawData, Split
from recbole_painvrl.convert.tables import read_interactions
from recbole_painvrl.errors import UserError

IDS = {"userID": "user", "itemID": "item"}
LABEL = "x_label"


def read(folder: Path, options: Options) -> RawData:
    """Returns the data of an MMRec folder; as in MMRec the number of items is the largest id + 1 unless told.

    Raises:
        UserError: A file is missing or damaged, a column is there twice, or a row is of no split.
    """
    path = _interaction_file(folder)
    table = read_interactions(path, "\t", (*IDS, LABEL))
    twice = [f"{old} and {new}" for old, new in IDS.items() if new in table]
    if twice:
        raise UserError(f"{path} line 1: columns {twice[0]} are both there; rename the second")
    table = table.rename(columns=IDS)
    odd = np.flatnonzero(~table[LABEL].isin((0, 1, 2)))
    if len(odd):
        place, label = f"{path} row {odd[0] + 1}", table[LABEL][odd[0]]
        raise UserError(f"{place}: x_label is {label}, expected 0 for train, 1 for validation or 2 for test")
    features = find_features(folder.glob("*.npy"), _modality)
    return RawData(
        splits={name: _part(table, label, path) for label, name in enumerate(FIRST_SPLITS)},
        features={name: load_feature(matrix) for name, matrix in features.items()},
        n_items=int(table["item"].max()) + 1 if options.n_items is None else options.n_items,
        stated_by=f"the largest itemID of {path.name}; --n_items says otherwise",
    )


def _interaction_file(folder: Path) -> Path:
    """Returns the ``.inter`` file: the only one, or the one named like the folder."""
    files = sorted(folder.glob("*.inter"))
    named = [path for path in files if path.stem == folder.resolve().name]
    if not files:
        raise UserError(f"{folder}: no .inter file found; expected <name>.inter with columns userID, itemID, x_label")
    if len(files) > 1 and not named:
        raise UserError(f"{folder}: {len(files)} .inter files found, none named like the folder; keep one of them")
    return named[0] if named else files[0]


def _part(table: pd.DataFrame, label: int, path: Path) -> Split:
    """Returns the rows with ``label``, without the label."""
    part = table[table[LABEL] == label].drop(columns=LABEL)
    if part.empty:
        raise UserError(f"{path}: no row has x_label {label}, expected 0 train, 1 validation and 2 test rows")
    return Split(part.reset_index(drop=True), f"{path.name} (x_label {label})", part.index + 1)


def _modality(path: Path) -> str | None:
    """Returns the modality of a matrix file; graphs that MMRec keeps in the folder are no features."""
    if path.stem.endswith("_dict"):
        return None
    letter = path.stem.removesuffix("_feat")
    return modality_name(letter) if modality_name(letter) != letter else modality_name(path.stem)

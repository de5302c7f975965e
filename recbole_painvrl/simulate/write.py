"""Writes a simulated data set as a data folder: atomic files, features, truth and what it was made by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from recbole_painvrl.convert.write import new_folder, write_matrix, write_table
from recbole_painvrl.errors import UserError
from recbole_painvrl.simulate.generator import INVARIANT, NOISE, SPURIOUS, Simulated

KINDS = {INVARIANT: "invariant", SPURIOUS: "spurious", NOISE: "noise"}


def write(data: Simulated, recipe: str, target: Path, overwrite: bool = False) -> None:
    """Writes ``data``, made by the recipe of name ``recipe``, into the folder ``target``, as a whole or not at all.

    Raises:
        UserError: ``target`` exists and ``overwrite`` is false, or the disk refuses.
    """
    try:
        with new_folder(target, overwrite) as folder:
            _write_files(data, recipe, folder, target.name)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error


def _write_files(data: Simulated, recipe: str, folder: Path, name: str) -> None:
    for position, split in enumerate(data.set_names):
        write_table(_interactions(data, data.sets == position), folder / f"{name}.{split}.inter")
    # items that nobody chose are candidates as well
    write_table(pd.DataFrame({"item_id:token": np.arange(data.recipe.items)}), folder / f"{name}.item")
    ids = "".join(f"{item}\n" for item in range(data.recipe.items))
    for modality, values in data.features.items():
        write_matrix(values, folder / f"{name}.{modality}.npy")
        (folder / f"{name}.{modality}.ids").write_text(ids, encoding="utf-8")
    _write_truth(data, folder)
    _write_csv(pd.DataFrame(_gamma_rows(data)), folder / "gammas.csv")
    (folder / f"{name}.yaml").write_text(settings_text(data), encoding="utf-8")
    made_by = {"recipe": recipe, "seed": data.seed, "constants": asdict(data.recipe)}
    (folder / "recipe.json").write_text(json.dumps(made_by, indent=2) + "\n", encoding="utf-8")


def _interactions(data: Simulated, rows: np.ndarray) -> pd.DataFrame:
    """The atomic table of the interactions ``rows``; a session is one user's stay in one environment."""
    users, environments = data.users[rows], data.environments[rows]
    columns = {
        "user_id:token": users,
        "item_id:token": data.items[rows],
        "timestamp:float": data.timestamps[rows],
        "session_id:token": users * len(data.gammas) + environments,
        "environment:token": environments,
    }
    return pd.DataFrame(columns)


def _write_truth(data: Simulated, folder: Path) -> None:
    """Writes the kind of each column; behind a rotation under another name, for the files' columns have no kind."""
    table = [
        {"modality": modality, "dimension": dimension, "truth": KINDS[int(kind)]}
        for modality, kinds in data.truth.items()
        for dimension, kind in enumerate(kinds)
    ]
    _write_csv(pd.DataFrame(table), folder / ("truth_latent.csv" if data.rotations else "truth.csv"))
    if data.rotations:
        named: dict[str, Any] = dict(data.rotations)  # numpy's types take any keyword for its own
        np.savez(folder / "truth_rotation.npz", **named)


def _gamma_rows(data: Simulated) -> Iterator[dict[str, Any]]:
    """One row a set and environment that occur together."""
    n_known = len(data.recipe.gamma)
    for position, split in enumerate(data.set_names):
        known = split in ("train", "valid", "test")
        for environment in range(n_known) if known else [n_known + position - 3]:
            yield {"set": split, "environment": environment, "gamma": round(data.gammas[environment], 6)}


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def settings_text(data: Simulated) -> str:
    """Returns the RecBole settings of the data set as YAML text."""
    settings: dict[str, object] = {"field_separator": "\t", "seq_separator": " "}
    settings |= {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp"}
    settings |= {"load_col": None}  # every column: session_id and environment are there to be used
    settings |= {"benchmark_filename": list(data.set_names)}
    settings |= {"modalities": {modality: {"source": "npy"} for modality in data.features}}
    return yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)

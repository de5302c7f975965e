"""Simulated data for the benchmarks: written once a seed, and masks judged against what they were made from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from recbole_painvrl.report.pictures.mask import turned
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.significance import spread
from recbole_painvrl.simulate import RECIPES, simulate

DATA = Path("dataset")


def data_set(name: str, seed: int) -> str:
    """Returns the data set of a recipe and a seed, written if it is not there; other names are returned as they are."""
    if name not in RECIPES:
        return name
    written = f"{name}-{seed}"
    if not (DATA / written).exists():
        simulate(name, written, seed, DATA)
    return written


def _values(file: Path, column: str) -> dict[tuple[str, str], str]:
    with file.open(newline="") as rows:
        return {(row["modality"], row["dimension"]): row[column] for row in csv.DictReader(rows)}


def masks(run: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Returns the final mask's values on invariant, spurious and noise dimensions.

    None where there is no truth, or where it knows nothing of the mask, which is over rotated or learned axes.
    """
    truth, mask = DATA / run["dataset"] / "truth.csv", Path(run["folder"]) / "mask.csv"
    if not (truth.exists() and mask.exists()) or turned(RunFolder(run["folder"]).settings()):
        return None
    kinds, values = _values(truth, "truth"), _values(mask, "mask")
    return {
        kind: np.array([float(values[key]) for key, found in kinds.items() if found == kind])
        for kind in ("invariant", "spurious", "noise")
    }


def auc(found: dict[str, np.ndarray]) -> float:
    """Returns the probability that an invariant dimension has the larger mask than a spurious one, ties half."""
    difference = found["invariant"][:, None] - found["spurious"][None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def mask_cells(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns mean mask on invariant and on spurious dimensions and AUC (mean, least), empty without a truth."""
    found = [masks(run) for run in runs]
    known = [one for one in found if one is not None]
    if not known:
        return ["", "", ""]
    areas = [auc(one) for one in known]
    kinds = [spread([float(one[kind].mean()) for one in known], 2) for kind in ("invariant", "spurious")]
    return [*kinds, f"{mean(areas):.2f} ({min(areas):.2f})"]

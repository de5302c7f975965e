"""ERM and IRM risk of the mask's search: its path, and the points that fixed weights reach.

Risks compare only where they are estimated alike: on the same recommender, environments and rows. Of two runs that
differ in nothing but how they weigh the two gradients, that is so in the first round, before a mask can change either.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.pictures.steps import histories
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.style import mean_line

FRONT_COLUMNS = ("erm", "irm", "weight")
FIXED = "fixed"  # kind of a row, and pareto_solver of a run
WEIGHING = {"pareto_solver", "pareto_normalize", "pareto_bounds", "irm_weight"}
Point = tuple[float, float, float]


def risks(rows: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Returns ERM and IRM risk of each step."""
    return [row["erm"] for row in rows], [row["irm"] for row in rows]


def mean_path(runs: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[list[float], list[float]]:
    """Returns ERM and IRM risk over the steps that all runs have, mean over runs and smoothed."""
    sides = zip(*map(risks, runs), strict=True)
    erm, irm = (mean_line([dict(enumerate(values)) for values in side]) for side in sides)
    return smooth(list(erm.values())), smooth(list(irm.values()))


def smooth(values: Sequence[float]) -> list[float]:
    """Returns the mean of each value and its neighbors, a twentieth of all on either side; the first stays itself."""
    near = [min(len(values) // 20, step) for step in range(len(values))]
    return [fmean(values[step - width : step + width + 1]) for step, width in enumerate(near)]


@dataclass(frozen=True)
class End:
    """Where the first round of one way to weigh the two gradients ended.

    Attributes:
        erm: ERM risk.
        irm: IRM penalty.
        weight: The fixed weight of the penalty; None for weights that were found.
        way: How the gradients were weighed.
    """

    erm: float
    irm: float
    weight: float | None
    way: str


def first_ends(selected: Selected, others: Sequence[Selected]) -> list[End]:
    """Returns where the first round ended of those of ``others`` that differ only in how they weigh.

    These have all of the seeds of ``selected``, and found the same environments in the first round. Risks are means
    over these seeds, smoothed as the path is.
    """
    ends = []
    for other in others:
        theirs = {run.seed: run for run in other.configuration.runs}
        pairs = [(run, theirs.get(run.seed)) for run in selected.configuration.runs]
        alike = [two for one, two in pairs if two is not None and _differ_in_weighing(one, two)]
        searches = [rounds[0] for rounds in histories(alike, "mask") if 0 in rounds]
        if len(searches) == len(pairs):
            erm, irm = mean_path(searches)
            ends.append(End(erm[-1], irm[-1], *_way(alike[0].settings)))
    return ends


def _differ_in_weighing(run: Run, other: Run) -> bool:
    """Whether two runs are the same until the mask of the first round is looked for, but for how it weighs."""
    one, two = ({key: value for key, value in of.comparable.items() if key not in WEIGHING} for of in (run, other))
    return one == two and _first_sizes(run) == _first_sizes(other)


def _way(settings: Mapping[str, Any]) -> tuple[float | None, str]:
    """The fixed weight, and how the gradients are weighed."""
    if settings.get("pareto_solver") == FIXED:
        return float(settings["irm_weight"]), FIXED
    bounds = settings.get("pareto_bounds") or [0, 0]
    limits = f", bounds {bounds[0]:g} and {bounds[1]:g}" if any(bounds) else ""
    return None, f"Pareto weights ({settings.get('pareto_normalize')}{limits})"


def _first_sizes(run: Run) -> Any:
    return next((one["sizes"] for one in run.records("identification")), None)


def read_front(file: str | Path) -> list[Point]:
    """Returns the points (erm, irm, weight) of a sweep over fixed weights: of a file with ``kind`` the ``fixed`` rows.

    Raises:
        UserError: The file cannot be read, lacks a column, holds something else than numbers, or no fixed weight.
    """
    path = Path(file)
    try:
        with open(path, newline="", encoding="utf-8") as text:
            table = csv.DictReader(text)
            missing = [name for name in FRONT_COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(f"--front={path}: has no column {', '.join(missing)}; expected erm, irm, weight")
            rows = [(line, row) for line, row in enumerate(table, start=2) if row.get("kind", FIXED) == FIXED]
            if not rows:
                raise UserError(f"--front={path}: has no row of a fixed weight (kind {FIXED})")
            return [_point(row, path, line) for line, row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--front={path}: cannot be read ({error})") from error


def _point(row: dict[str, str], path: Path, line: int) -> Point:
    try:
        erm, irm, weight = (float(row[name]) for name in FRONT_COLUMNS)
    except (TypeError, ValueError):
        raise UserError(f"--front={path}: line {line}: expected three numbers erm, irm, weight") from None
    return erm, irm, weight

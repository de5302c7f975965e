"""The mask's two objectives: the path of both risks, their Pareto weight and how far their gradients agree."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.pictures.steps import Histories, along, histories, mark_rounds, offsets
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import BLACK, GRAY, LOOKS, draw_runs, look, mean_line, new_figure, seeds_note

FRONT_COLUMNS = ("erm", "irm", "weight")
FIXED = "fixed"  # kind of a row, and pareto_solver of a run
Point = tuple[float, float, float]


def pareto_steps(selected: Selected) -> Drawing:
    """Draws the weight of the IRM gradient, the cosine of both gradients and the stationarity over the mask's steps."""
    runs = selected.configuration.runs
    found = _with_cosine(_histories(runs))
    begins = offsets(found)
    figure, axes = new_figure(6.6, 5.4, 3, 1, sharex=True)
    shown = (
        ("weight", "Pareto weight\nof the IRM gradient", (-0.03, 1.03)),
        ("cosine", "cosine of the\ntwo gradients", (-1.05, 1.05)),
        ("stationarity", "stationarity", None),
    )
    for position, (key, label, limits) in enumerate(shown):
        panel = axes[position, 0]
        lines = [line for rounds in found if (line := along(rounds, begins, key))]
        if lines:
            draw_runs(panel, lines, LOOKS[0], label, marks=False)
        panel.set_ylabel(label)
        if limits:
            panel.set_ylim(*limits)
        else:
            panel.set_yscale("log", nonpositive="mask")
        mark_rounds(panel, begins, named=not position)
    axes[1, 0].axhline(0.0, color=GRAY, linewidth=0.7)
    axes[2, 0].set_xlabel("steps of the mask, round after round")
    rows: list[tuple[Cell, ...]] = [
        (run.seed, number, step, row.get("weight"), row.get("cosine"), row.get("stationarity"))
        for run, rounds in zip(runs, found, strict=True)
        for number, history in rounds.items()
        for step, row in enumerate(history, start=1)
    ]
    note = (
        f"Over the mask's steps ({seeds_note(len(runs))}). A cosine of -1 means that the gradients of ERM and IRM "
        "oppose each other; stationarity 0 is a Pareto-stationary mask."
    )
    header = ("seed", "round", "step", "weight", "cosine", "stationarity")
    return Drawing(f"Pareto weight and gradients: {selected.configuration.title}", note, figure, header, rows)


def _histories(runs: Sequence[Run]) -> Histories:
    found = histories(runs, "mask")
    if not any(found):
        raise Absent("no mask was generated")
    return found


def _with_cosine(found: Histories) -> Histories:
    """Adds the cosine where a row holds the angle in degrees only."""
    return [
        {
            number: [
                {"cosine": math.cos(math.radians(row["angle"])), **row} if row.get("angle") else row for row in rows
            ]
            for number, rows in rounds.items()
        }
        for rounds in found
    ]


def risk_path(selected: Selected, front: Sequence[Point] = ()) -> Drawing:
    """Draws the path of ERM and IRM risk over each round's steps, and the front of a fixed-weight sweep beside it.

    Raises:
        Absent: No mask was generated, or no step of one has a positive penalty, as the axis shows.
    """
    runs = selected.configuration.runs
    found = _histories(runs)
    figure, axes = new_figure(6.0, 4.6)
    panel = axes[0, 0]
    drawn = [
        _path(panel, [rounds[number] for rounds in found if number in rounds], position, number)
        for position, number in enumerate(offsets(found))
    ]
    if not any(drawn):
        raise Absent("no step of the mask has a positive IRM penalty, and its axis is logarithmic")
    if front:
        ordered = sorted(front)
        erm, irm = [point[0] for point in ordered], [point[1] for point in ordered]
        panel.plot(erm, irm, color=BLACK, marker="s", markersize=4, linewidth=1.2, label="fixed weights", zorder=4)
    panel.set(xlabel="ERM risk", ylabel="IRM penalty")
    panel.set_yscale("log", nonpositive="mask")
    panel.legend(loc="best")
    rows: list[tuple[Cell, ...]] = [
        (run.seed, number, step, row["erm"], row["irm"], row.get("weight"))
        for run, rounds in zip(runs, found, strict=True)
        for number, history in rounds.items()
        for step, row in enumerate(history, start=1)
    ]
    rows += [("front", "", "", *point) for point in front]
    note = (
        "From the circle to the star, a line a round: thin as each seed's minibatches estimate it, bold the mean over "
        f"{len(runs)} seeds, smoothed. Lower and further left is better"
        + ("; black squares are the front of a sweep over fixed weights." if front else ".")
        + ("" if all(drawn) else " A round without a positive mean penalty is in the CSV only.")
    )
    header = ("seed", "round", "step", *FRONT_COLUMNS)
    return Drawing(f"ERM and IRM risk of the mask: {selected.configuration.title}", note, figure, header, rows)


def _path(axes: Any, runs: Sequence[list[dict[str, Any]]], position: int, number: int) -> bool:
    """Draws a round; nothing, and returns False, where no mean penalty is positive: the estimate is unbiased."""
    shared = [mean_line([dict(enumerate(values)) for values in side]) for side in zip(*map(_risks, runs), strict=True)]
    points = [(erm, irm) for erm, irm in zip(*(line.values() for line in shared), strict=True) if irm > 0]
    if not points:
        return False
    how = look(position)
    for rows in runs:
        axes.plot(*_risks(rows), color=how.color, linewidth=0.5, alpha=0.3)
    erm, irm = (smooth(side) for side in zip(*points, strict=True))
    axes.plot(erm, irm, color=how.color, linestyle=how.line, label=f"round {number}")
    edge = {"markeredgecolor": "black", "markeredgewidth": 0.7, "zorder": 5, "color": how.color}
    axes.plot(erm[:1], irm[:1], "o", markersize=7, **edge)
    axes.plot(erm[-1:], irm[-1:], "*", markersize=13, **edge)
    return True


def _risks(rows: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [row["erm"] for row in rows], [row["irm"] for row in rows]


def smooth(values: Sequence[float]) -> list[float]:
    """Returns the mean of each value and its neighbors, a twentieth of all on either side; the first stays itself."""
    near = [min(len(values) // 20, step) for step in range(len(values))]
    return [fmean(values[step - width : step + width + 1]) for step, width in enumerate(near)]


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

"""The mask's two objectives: the path of both risks, their Pareto weight and how far their gradients agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recbole_painvrl.report.pictures.risks import FIXED, FRONT_COLUMNS, End, Point, first_ends, mean_path, risks
from recbole_painvrl.report.pictures.steps import Histories, along, histories, mark_rounds, offsets
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import BLACK, GRAY, LOOKS, draw_runs, look, new_figure, seeds_note

SQUARES, MARKS = "fixed weights", "DvP^X"


@dataclass(frozen=True)
class Panel:
    """One quantity of a step; without limits its axis is logarithmic."""

    key: str
    label: str
    limits: tuple[float, float] | None = None


PANELS = (
    Panel("weight", "Pareto weight\nof the IRM gradient", (-0.03, 1.03)),
    Panel("factor", "factor of the\nraw IRM gradient"),
    Panel("cosine", "cosine of the\ntwo gradients", (-1.05, 1.05)),
    Panel("stationarity", "stationarity"),
)


def pareto_steps(selected: Selected) -> Drawing:
    """Draws how the two gradients are weighed, their cosine and the stationarity over the mask's steps.

    The weight is left out where it is the same in every step by definition. What it comes to of the raw gradients, the
    factor, differs from step to step all the same.
    """
    runs = selected.configuration.runs
    found = _with_cosine(_histories(runs))
    settled = _settled(runs[0].settings)
    panels = [panel for panel in PANELS if _is_shown(found, panel, settled)]
    begins = offsets(found)
    figure, axes = new_figure(6.6, 0.6 + 1.6 * len(panels), len(panels), 1, sharex=True)
    for position, panel in enumerate(panels):
        _draw_steps(axes[position, 0], panel, [along(rounds, begins, panel.key) for rounds in found])
        mark_rounds(axes[position, 0], begins, named=not position)
    axes[-1, 0].set_xlabel("steps of the mask, round after round")
    names = ("weight", "factor", "cosine", "stationarity")
    rows: list[tuple[Cell, ...]] = [
        (run.seed, number, step, *map(row.get, names))
        for run, rounds in zip(runs, found, strict=True)
        for number, history in rounds.items()
        for step, row in enumerate(history, start=1)
    ]
    weights = _of_weights(settled, "factor" in [one.key for one in panels])
    note = (
        f"Over the mask's steps ({seeds_note(len(runs))}). {weights}A cosine of -1 means that the gradients of ERM and "
        "IRM oppose each other; stationarity 0 is a Pareto-stationary mask."
    )
    header = ("seed", "round", "step", *names)
    return Drawing(f"Pareto weight and gradients: {selected.configuration.title}", note, figure, header, rows)


def _settled(settings: Mapping[str, Any]) -> str:
    """Why the weight of the IRM gradient is the same in every step; empty where it is not."""
    bounds = settings.get("pareto_bounds") or [0, 0]
    if settings.get("pareto_solver") == FIXED:
        return "it is fixed (pareto_solver: fixed)"
    if sum(bounds) >= 1:
        return f"pareto_bounds leave it no choice but {bounds[0]:g}"
    if settings.get("pareto_normalize") == "l2":
        weight = min(max(0.5, bounds[0]), 1 - bounds[1])
        return f"of gradients of unit length (pareto_normalize: l2) it is {weight:g} by definition"
    return ""


def _is_shown(found: Histories, panel: Panel, settled: str) -> bool:
    """Whether a panel has something to show: a value, and of the weight one that is free."""
    if panel.key == "weight":
        return not settled
    return panel.key != "factor" or any(
        row.get("factor") for rounds in found for rows in rounds.values() for row in rows
    )


def _draw_steps(axes: Any, panel: Panel, lines: Sequence[dict[float, float]]) -> None:
    if any(lines):
        draw_runs(axes, [line for line in lines if line], LOOKS[0], panel.label, marks=False)
    axes.set_ylabel(panel.label)
    if panel.limits:
        axes.set_ylim(*panel.limits)
    else:
        axes.set_yscale("log", nonpositive="mask")
    if panel.key == "cosine":
        axes.axhline(0.0, color=GRAY, linewidth=0.7)


def _of_weights(settled: str, has_factor: bool) -> str:
    """What the caption says of the weight and of the factor."""
    weight = f"The weight of the IRM gradient is not drawn: {settled}. " if settled else ""
    factor = "The factor of the raw IRM gradient is the fixed irm_weight that would give the same direction. "
    return weight + (factor if has_factor else "")


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


def risk_path(selected: Selected, front: Sequence[Point] = (), others: Sequence[Selected] = ()) -> Drawing:
    """Draws the path of ERM and IRM risk over each round's steps, and what fixed weights reach beside it.

    Args:
        selected: Whose path.
        front: The points of a file; none for those of ``others``.
        others: Configurations of the same model and data set; those that differ only in how they weigh are drawn.

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
    ends = [End(*point, FIXED) for point in front] or _rival_ends(selected, others)
    _draw_ends(panel, ends)
    panel.set(xlabel="ERM risk", ylabel="IRM penalty")
    panel.set_yscale("log", nonpositive="mask")
    panel.legend(loc="best")
    rows: list[tuple[Cell, ...]] = [
        (run.seed, number, step, row["erm"], row["irm"], row.get("weight"))
        for run, rounds in zip(runs, found, strict=True)
        for number, history in rounds.items()
        for step, row in enumerate(history, start=1)
    ]
    rows += [(one.way, "" if front else 0, "", one.erm, one.irm, one.weight) for one in ends]
    note = (
        "From the circle to the star, a line a round: thin as each seed's minibatches estimate it, bold the mean over "
        f"{len(runs)} seeds, smoothed. Lower and further left is better."
        + _of_ends(ends, bool(front))
        + ("" if all(drawn) else " A round without a positive mean penalty is in the CSV only.")
    )
    header = ("seed", "round", "step", *FRONT_COLUMNS)
    return Drawing(f"ERM and IRM risk of the mask: {selected.configuration.title}", note, figure, header, rows)


def _rival_ends(selected: Selected, others: Sequence[Selected]) -> list[End]:
    """Where other ways to weigh ended; with them that of ``selected`` if it belongs to the fixed weights' line."""
    ends = first_ends(selected, [other for other in others if other is not selected])
    own = [one for one in first_ends(selected, [selected]) if one.way == FIXED]
    return [*own, *ends] if ends else []


def _draw_ends(axes: Any, ends: Sequence[End]) -> None:
    """Draws fixed weights as squares on a line, in the order of their risk, and each other way as a hollow mark."""
    fixed = sorted((one.erm, one.irm) for one in ends if one.way == FIXED)
    if fixed:
        axes.plot(*zip(*fixed, strict=True), "s-", color=BLACK, markersize=4, linewidth=1.2, label=SQUARES, zorder=4)
    found = [one for one in ends if one.way != FIXED]
    for place, one in enumerate(found):
        mark = {"markersize": 8, "markerfacecolor": "white", "markeredgewidth": 1.6, "zorder": 6}
        axes.plot(one.erm, one.irm, MARKS[place % len(MARKS)], color=BLACK, linestyle="", label=one.way, **mark)


def _of_ends(ends: Sequence[End], of_file: bool) -> str:
    """What the caption says of the black marks."""
    if not ends:
        return ""
    weights = sorted(one.weight for one in ends if one.weight is not None)
    span = f"fixed weights from {weights[0]:g} to {weights[-1]:g}" if weights else "none of them by fixed weights"
    if of_file:
        return (
            f" Black squares are {span}, from a file: they compare with the path only if their risks are estimated on "
            "the same recommender, environments and rows."
        )
    below = " One without a positive penalty is in the CSV only." if any(one.irm <= 0 for one in ends) else ""
    return (
        f" Black marks are where round 0 ended of runs that differ only in how they weigh ({span}): on the same "
        "recommender and environments, and smoothed alike. Later rounds have environments of their own and do not "
        f"compare with them.{below}"
    )


def _path(axes: Any, runs: Sequence[list[dict[str, Any]]], position: int, number: int) -> bool:
    """Draws a round; nothing, and returns False, where no mean penalty is positive: the estimate is unbiased."""
    erm, irm = mean_path(runs)
    points = [point for point in zip(erm, irm, strict=True) if point[1] > 0]
    if not points:
        return False
    how = look(position)
    for rows in runs:
        axes.plot(*risks(rows), color=how.color, linewidth=0.5, alpha=0.3)
    axes.plot(*zip(*points, strict=True), color=how.color, linestyle=how.line, label=f"round {number}")
    edge = {"markeredgecolor": "black", "markeredgewidth": 0.7, "zorder": 5, "color": how.color}
    for end, marker, size in ((points[0], "o", 7), (points[-1], "*", 13)):
        axes.plot([end[0]], [end[1]], marker, markersize=size, **edge)
    return True

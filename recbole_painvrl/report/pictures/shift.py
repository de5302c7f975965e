"""A metric while the shift grows: over test sets ``test_shift_0``, ``test_shift_1``, ..."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import (
    draw_runs,
    legend_name,
    legend_width,
    look,
    models_legend,
    new_figure,
    seeds_note,
)

SLIDING = re.compile(r"test_shift_(\d+)")


def shift_curve(selected: Sequence[Selected], metric: str) -> Drawing:
    """Draws the metric of each model, at the rho that the rule chose, over the sliding test sets."""
    names = {name for one in selected for choice in one.choices for name in choice.row if SLIDING.fullmatch(name)}
    if not names:
        raise Absent("there are no test sets test_shift_0, test_shift_1, ...")
    sets = sorted(names, key=_number)
    gammas = _gammas(selected[0].configuration.runs[0].data_folder / "gammas.csv")
    known = all(name in gammas for name in sets)
    places = {name: gammas[name] if known else float(_number(name)) for name in sets}
    figure, axes = new_figure(6.0 + legend_width([one.configuration.name for one in selected]), 3.8)
    for position, one in enumerate(selected):
        lines = [_line(choice.row, places, metric) for choice in one.choices]
        draw_runs(axes[0, 0], lines, look(position), legend_name(one.configuration.name))
    axes[0, 0].set(xlabel="gamma of the test set" if known else "number of the test set", ylabel=metric)
    if known and gammas[sets[0]] > gammas[sets[-1]]:
        axes[0, 0].invert_xaxis()
    models_legend(figure, axes[0, 0])
    rows: list[tuple[Cell, ...]] = [
        (one.configuration.name, choice.run.seed, name, gammas.get(name), choice.row[name].get(metric), choice.rho)
        for one in selected
        for choice in one.choices
        for name in sets
        if name in choice.row
    ]
    runs = max(len(one.choices) for one in selected)
    note = f"From in distribution (left) to reversed (right), each model at the chosen rho ({seeds_note(runs)})."
    header = ("model", "seed", "test_set", "gamma", metric, "rho")
    return Drawing(f"Over a growing shift: {selected[0].configuration.dataset}", note, figure, header, rows)


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _line(row: Mapping[str, Mapping[str, float]], places: Mapping[str, float], metric: str) -> dict[float, float]:
    found = {place: row.get(name, {}).get(metric) for name, place in places.items()}
    return {place: value for place, value in found.items() if value is not None}


def _gammas(file: Path) -> dict[str, float]:
    """Returns the factor of the spurious part of each sliding set, where the data were simulated."""
    if not file.is_file():
        return {}
    with open(file, newline="", encoding="utf-8") as text:
        return {row["set"]: float(row["gamma"]) for row in csv.DictReader(text) if SLIDING.fullmatch(row["set"])}

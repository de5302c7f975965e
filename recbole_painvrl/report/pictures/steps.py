"""Histories of several rounds on one axis: the steps of a round follow those of the round before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.style import GRAY

Histories = list[dict[int, list[dict[str, Any]]]]


def histories(runs: Sequence[Run], event: str) -> Histories:
    """Returns for each run the history of each round, from its records ``event``; a round without one is left out."""
    return [{one["round"]: one["history"] for one in run.records(event) if one.get("history")} for run in runs]


def offsets(found: Histories) -> dict[int, int]:
    """Returns where each round begins on the common axis: after the longest of the round before, over all runs."""
    begins, position = {}, 0
    for number in sorted({number for rounds in found for number in rounds}):
        begins[number] = position
        position += max(len(rounds.get(number, ())) for rounds in found)
    return begins


def along(rounds: dict[int, list[dict[str, Any]]], begins: dict[int, int], key: str) -> dict[float, float]:
    """Returns the values of ``key`` by position on the common axis, counted from 1, with a gap between rounds."""
    found = {
        float(begins[number] + index): row[key]
        for number, rows in rounds.items()
        for index, row in enumerate(rows, start=1)
        if row.get(key) is not None
    }
    gaps = {begin + 0.5: math.nan for begin in begins.values() if begin}
    return dict(sorted((found | gaps).items())) if found else {}


def mark_rounds(axes: Any, begins: dict[int, int], named: bool) -> None:
    """Draws a line where each round begins, with its number above it if ``named``."""
    for number, begin in begins.items():
        if begin:
            axes.axvline(begin + 0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        if named:
            text = f"round {number}" if len(begins) <= 6 else str(number)
            axes.text(begin + 0.5, 1.02, text, transform=axes.get_xaxis_transform(), fontsize=8, color=GRAY)

"""Results of groups of users and items, as a heat map with the worst group of each grouping framed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.report.group_means import ABOUT, Key, group_means, groups_of
from recbole_painvrl.report.leaderboard import is_bigger_better
from recbole_painvrl.report.pictures.shift import SLIDING
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import HEAT, VERMILLION, cut, ink_on, new_figure, plain_text

COUNTS = ("users", "pairs")
LEAST_USERS = 10  # a mean over fewer is mostly chance: as in the records, such a group is never the worst
COLUMNS, ROWS = 6, 32  # metrics and groups of a picture that is read in print
LONGEST = 24  # letters of a group's name


def group_heat(selected: Sequence[Selected], metric: str, test_set: str = "test") -> Drawing:
    """Draws the groups of one test set by model, or by metric where there is one model only.

    Raises:
        Absent: No groups of the test set are recorded, or none has the metric.
    """
    first, by_metric = selected[0].configuration, len(selected) == 1
    means = group_means(selected, test_set)
    known = _columns(selected, means, metric, test_set)
    columns = known[:COLUMNS] if by_metric else known
    users = {key: counts.get("users") for one in reversed(means) for key, counts in one.items()}
    every = list(dict.fromkeys(key for _, cells in columns for key in cells))
    values = np.array([[cells.get(key, np.nan) for _, cells in columns] for key in every])
    metrics = [name for name, _ in columns] if by_metric else [metric] * len(columns)
    sign = np.array([1.0 if is_bigger_better(name, first.runs[0]) else -1.0 for name in metrics])
    large = np.array([(users.get(key) or LEAST_USERS) >= LEAST_USERS for key in every])
    worst = worst_cells(np.where(large[:, None], sign * values, np.nan), [grouping for grouping, _ in every])
    shown = _shown(every, users, {row for row, _ in worst})
    keys = [every[row] for row in shown]
    figure, axes = new_figure(2.8 + 0.7 * len(columns), 1.5 + 0.24 * len(keys))
    _heat(axes[0, 0], values[shown], keys, [name for name, _ in columns], by_metric)
    axes[0, 0].set_yticks(range(len(keys)), [_label(key, users.get(key)) for key in keys])
    for row, column in worst:
        if row in shown:
            _frame(axes[0, 0], shown.index(row), column)
    of = first.model if by_metric else metric
    note = (
        f"Groups of {test_set} with their number of users, means over seeds, at each run's own rho; the worst group of "
        "each grouping is framed."
        + (" Colors are relative to each column's largest value." if by_metric else "")
        + (
            f" {ABOUT}: bounds of the first seed, where others have others."
            if any(group.startswith(ABOUT) for _, group in keys)
            else ""
        )
        + _left_out(len(known) - len(columns), len(every) - len(keys))
    )
    header = ("model", "test_set", "grouping", "group", "users", "pairs", "metric", "value")
    return Drawing(
        f"Groups on {test_set}: {of}, {first.dataset}", note, figure, header, _numbers(selected, means, test_set)
    )


def _shown(keys: Sequence[Key], users: Mapping[Key, float | None], worst: set[int]) -> list[int]:
    """Returns the rows that are drawn, in their order: the worst groups and the largest of each grouping, up to a page.

    A grouping has its share of the page's rows; what smaller ones leave goes to none.
    """
    groupings = list(dict.fromkeys(grouping for grouping, _ in keys))
    least = max(2, ROWS // len(groupings))
    kept: list[int] = []
    for grouping in groupings:
        rows = [row for row, key in enumerate(keys) if key[0] == grouping]
        first = sorted(rows, key=lambda row: (row not in worst, -(users.get(keys[row]) or 0)))
        kept += sorted(first[: max(least, len(worst.intersection(rows)))] if len(keys) > ROWS else rows)
    return kept


def _left_out(columns: int, rows: int) -> str:
    """What the caption says of that which only the CSV has."""
    parts = [*([f"{columns} more metrics"] if columns else []), *([f"{rows} smaller groups"] if rows else [])]
    return f" The CSV has {' and '.join(parts)}." if parts else ""


def grouped_sets(selected: Sequence[Selected]) -> list[str]:
    """Returns the test sets of which groups are recorded, sliding ones left out."""
    results = [choice.run.result for one in selected for choice in one.choices]
    names = dict.fromkeys(
        name for result in results for key in ("groups", "test_groups") for name in result.get(key) or ()
    )
    return [
        name for name in names if not SLIDING.fullmatch(name) and any(groups_of(result, name) for result in results)
    ]


def _columns(
    selected: Sequence[Selected], means: Sequence[dict[Key, dict[str, float]]], metric: str, test_set: str
) -> list[tuple[str, dict[Key, float]]]:
    named = [(one.configuration.model, groups) for one, groups in zip(selected, means, strict=True) if groups]
    if not named:
        raise Absent(f"no groups of {test_set} are recorded")
    if len(selected) > 1:
        found = [(name, _of_metric(groups, metric)) for name, groups in named]
    else:
        metrics = dict.fromkeys(metric for values in named[0][1].values() if metric in values)
        metrics |= dict.fromkeys(name for values in named[0][1].values() for name in values if name not in COUNTS)
        found = [(name, _of_metric(named[0][1], name)) for name in metrics]
    columns = [(name, cells) for name, cells in found if cells]
    if not columns:
        raise Absent(f"the groups of {test_set} have no {metric}, which is no mean over users")
    return columns


def _of_metric(groups: Mapping[Key, Mapping[str, float]], metric: str) -> dict[Key, float]:
    return {key: values[metric] for key, values in groups.items() if metric in values}


def worst_cells(values: NDArray[Any], groupings: Sequence[str]) -> list[tuple[int, int]]:
    """Returns row and column of the smallest value of each grouping in each column; equal ones count once.

    Args:
        values: [groups, columns], larger is better, NaN where unknown.
        groupings: the grouping of each row.
    """
    cells = []
    for grouping in dict.fromkeys(groupings):
        rows = np.array([row for row, name in enumerate(groupings) if name == grouping])
        for column in range(values.shape[1]):
            part = values[rows, column]
            if np.isfinite(part).sum() > 1:
                cells.append((int(rows[np.nanargmin(part)]), column))
    return cells


def _heat(axes: Any, values: NDArray[Any], keys: Sequence[Key], columns: Sequence[str], by_column: bool) -> None:
    finite = np.where(np.isfinite(values), values, 0.0)
    top = np.maximum(finite.max(axis=0) if by_column else np.full(len(columns), finite.max()), 1e-12)
    shares = values / top
    axes.imshow(shares, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = ink_on(shares[row, column])
            axes.text(column, row, f"{value:.4f}", ha="center", va="center", color=ink, fontsize=7.5)
    for row in range(1, len(keys)):
        if keys[row][0] != keys[row - 1][0]:
            axes.axhline(row - 0.5, color="white", linewidth=3)


def _label(key: Key, users: float | None) -> str:
    return plain_text(f"{key[0]}: {cut(key[1], LONGEST)}") + (f" ({users:,.0f})" if users else "")


def _frame(axes: Any, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    frame = Rectangle(
        (column - 0.46, row - 0.38), 0.92, 0.76, fill=False, edgecolor=VERMILLION, linewidth=1.6, zorder=5
    )
    frame.set_path_effects([withStroke(linewidth=3.6, foreground="white")])  # seen on every gray in print
    axes.add_patch(frame)


def _numbers(
    selected: Sequence[Selected], means: Sequence[dict[Key, dict[str, float]]], test_set: str
) -> list[tuple[Cell, ...]]:
    return [
        (one.configuration.name, test_set, grouping, group, values.get("users"), values.get("pairs"), name, value)
        for one, groups in zip(selected, means, strict=True)
        for (grouping, group), values in groups.items()
        for name, value in values.items()
        if name not in COUNTS
    ]

"""Within and out of distribution at once: one model over its rho is a curve, one without a rho a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from recbole_painvrl.report.selection import Row, Selected, ood_sets
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import Look, legend_name, legend_width, look, models_legend, new_figure

PANELS = 4  # of test sets side by side
Point = tuple[float, float]


def trade_off_curve(selected: Sequence[Selected], metric: str) -> Drawing:
    """Draws the metric on each OOD test set against that on the IID test set, over rho."""
    sets = list(dict.fromkeys(name for one in selected for choice in one.choices for name in ood_sets(choice.row)))
    if not sets:
        raise Absent("there is no test set beside `test`")
    shown = sets[:PANELS]
    beside = legend_width([one.configuration.name for one in selected])
    figure, axes = new_figure(4.4 * len(shown) + 0.6 + beside, 4.2, 1, len(shown))
    for name, panel in zip(shown, axes[0], strict=True):
        for position, one in enumerate(selected):
            _draw(panel, one, name, metric, look(position))
        panel.set(xlabel=f"{metric} on test (in distribution)", ylabel=f"{metric} on {name}")
        panel.margins(0.12)
        panel.grid(color="0.9", linewidth=0.6)
    models_legend(figure, axes[0, 0])
    left_out = f" Of {len(sets)} sets the first {PANELS}; the others are in the CSV." if len(sets) > PANELS else ""
    note = (
        "Up and to the right is better. A curve is one trained model from the smallest to the largest rho, thin lines "
        f"are seeds; a ring is where the rule chose; a model without rho is a point.{left_out}"
    )
    rows = _numbers(selected, sets, metric)
    header = ("model", "seed", "test_set", "rho", "chosen", f"{metric}_iid", f"{metric}_ood")
    return Drawing(f"In and out of distribution: {selected[0].configuration.dataset}", note, figure, header, rows)


def _numbers(selected: Sequence[Selected], sets: Sequence[str], metric: str) -> list[tuple[Cell, ...]]:
    return [
        (one.configuration.name, choice.run.seed, name, row.get("rho"), int(row.get("rho") == choice.rho), *point)
        for one in selected
        for choice in one.choices
        for row in choice.run.result.get("trade_off") or [choice.row]
        for name in sets
        if (point := _point(row, name, metric))
    ]


def _point(row: Row, name: str, metric: str) -> Point | None:
    iid, ood = (row.get(part, {}).get(metric) for part in ("test", name))
    return None if iid is None or ood is None else (iid, ood)


def _curves(one: Selected, name: str, metric: str) -> list[dict[float, Point]]:
    """For each run with a trade-off the points by rho."""
    curves = [
        {row["rho"]: point for row in choice.run.result.get("trade_off") or () if (point := _point(row, name, metric))}
        for choice in one.choices
    ]
    return [curve for curve in curves if curve]


def _draw(axes: Any, one: Selected, name: str, metric: str, how: Look) -> None:
    curves = _curves(one, name, metric)
    chosen = [point for choice in one.choices if (point := _point(choice.row, name, metric))]
    if not chosen:
        return
    label = legend_name(one.configuration.name)
    if curves:
        _draw_curves(axes, curves, label, how)
        axes.plot(*_middle(chosen), "o", markersize=13, fillstyle="none", color="black", markeredgewidth=1.4)
    else:
        axes.plot(*zip(*chosen, strict=True), how.marker, color=how.color, markersize=4, alpha=0.45)
        axes.plot(*_middle(chosen), how.marker, color=how.color, markersize=9, label=label, linestyle="")


def _draw_curves(axes: Any, curves: Sequence[Mapping[float, Point]], label: str, how: Look) -> None:
    from matplotlib.patheffects import withStroke

    for curve in curves if len(curves) > 1 else ():
        axes.plot(*zip(*curve.values(), strict=True), color=how.color, linewidth=0.7, alpha=0.45)
    shared = sorted(set.intersection(*map(set, curves)))
    mean = {rho: _middle([curve[rho] for curve in curves]) for rho in shared}
    axes.plot(*zip(*mean.values(), strict=True), color=how.color, linestyle=how.line, marker=how.marker, label=label)
    for rho, up in dict.fromkeys([(shared[0], 6), (shared[-1], -14)]):
        text = axes.annotate(f"rho {rho:g}", mean[rho], (8, up), textcoords="offset points", fontsize=8, zorder=6)
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _middle(points: Sequence[Point]) -> Point:
    return fmean(point[0] for point in points), fmean(point[1] for point in points)

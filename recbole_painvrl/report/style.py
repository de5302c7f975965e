"""How every picture looks: readable in print, told apart without colors, the same bytes from the same numbers.

Source of the colors: Okabe and Ito, "Color Universal Design" (2008).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from recbole_painvrl.errors import UserError

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, GRAY = "#CC79A7", "#56B4E9", "#000000", "#595959"
HEAT = "cividis"  # reads the same with color blindness, and as gray
RC = {
    "svg.hashsalt": "recbole_painvrl",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "legend.handlelength": 3.4,
    "figure.dpi": 100.0,
    "savefig.dpi": 160.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
}
Points = Mapping[float, float]
INSIDE = 5  # models that a legend names without hiding the points of others


@dataclass(frozen=True)
class Look:
    """Color, marker and line of one series: any one of the three tells it apart."""

    color: str
    marker: str
    line: Any


LOOKS = tuple(
    Look(color, marker, line)
    for color, marker, line in zip(
        (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK),
        ("o", "s", "^", "D", "v", "P", "X"),
        ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))),
        strict=True,
    )
)


def look(position: int) -> Look:
    """Returns the look of the series at ``position``; further colors meet other markers after the seventh."""
    turn = position // len(LOOKS)
    marked, drawn = LOOKS[(position + turn) % len(LOOKS)], LOOKS[(position + 2 * turn) % len(LOOKS)]
    return Look(LOOKS[position % len(LOOKS)].color, marked.marker, drawn.line)


def check_matplotlib() -> None:
    """Makes sure that pictures can be drawn.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError(
            'report: its pictures need matplotlib, which is not installed; pip install "recbole_painvrl[report]", or '
            "pip install matplotlib"
        ) from None


@contextmanager
def house_style() -> Iterator[None]:
    """Draws in the style of this module, whatever the user's own matplotlibrc says."""
    import matplotlib.style

    with matplotlib.style.context(["default", RC]):
        yield


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Any, Any]:
    """Returns a figure of ``width`` x ``height`` inches and its axes, always as an array [rows, columns]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def legend_name(name: str) -> str:
    """Returns a model's name and how its configuration differs, in lines short enough for a legend."""
    return plain_text(textwrap.fill(name, 30))


def legend_width(names: Sequence[str]) -> float:
    """Returns the inches that ``models_legend`` takes beside the panels."""
    longest = max((len(line) for name in names for line in legend_name(name).split("\n")), default=0)
    return 0.7 + 0.07 * longest if len(names) > INSIDE else 0.0


def models_legend(figure: Any, axes: Any) -> None:
    """Names the models drawn on ``axes``: within them where they are few, beside the figure's panels where many."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > INSIDE:
        figure.legend(handles, labels, loc="outside right upper")
    else:
        axes.legend(handles, labels, loc="best")


def mean_line(runs: Sequence[Points]) -> dict[float, float]:
    """Returns the mean over the runs at each place where all of them have a value."""
    shared = set.intersection(*(set(one) for one in runs)) if runs else set()
    return {place: fmean(one[place] for one in runs) for place in sorted(shared)}


def draw_runs(axes: Any, runs: Sequence[Points], how: Look, label: str, marks: bool = True) -> dict[float, float]:
    """Draws a thin line for each run and their mean in bold; the mean alone for one run. Returns the mean."""
    mean = mean_line(runs)
    if len(runs) > 1:
        for one in runs:
            axes.plot(list(one), list(one.values()), color=how.color, linewidth=0.7, alpha=0.45)
    every = max(1, len(mean) // 12)
    marker = {"marker": how.marker, "markevery": every, "markeredgecolor": "white", "markeredgewidth": 0.6}
    axes.plot(
        list(mean), list(mean.values()), color=how.color, linestyle=how.line, label=label, **(marker if marks else {})
    )
    return mean


def whole_ticks(axis: Any) -> None:
    """Puts ticks of ``axis`` at whole numbers only, however few lie on it."""
    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def seeds_note(count: int) -> str:
    """Returns what a caption says about the number of runs."""
    return "one run" if count == 1 else f"{count} seeds: thin lines, and their mean"


def ink_on(share: float) -> str:
    """Returns the color of text on the heat map's color at ``share`` of its range."""
    return "black" if share > 0.5 else "white"


def cut(name: str, most: int) -> str:
    """Returns a name of at most so many letters, the last three of which are dots if it is longer."""
    return name if len(name) <= most else f"{name[: most - 3]}..."


def plain_text(text: str) -> str:
    """Returns a name from the records as matplotlib draws it letter by letter: it would read ``$`` as mathematics."""
    return text.replace("$", r"\$")

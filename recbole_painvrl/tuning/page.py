"""``search.html``: every trial as a line across its parameters to its score, and a table that sorts.

A number stands where its range says, evenly on the scale that it was drawn from; an option stands at its place in the
list. Scores are told by colour too, the darker the better, in a palette for every kind of eyes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from recbole_painvrl.files import atomic_file
from recbole_painvrl.report.web_document import cell, document, table
from recbole_painvrl.tuning.record import Record, Trial, ranked
from recbole_painvrl.tuning.space import Choice, Parameter, Space, Uniform

FILE = "search.html"
STEP, TOP, HEIGHT, SIDE = 150, 60, 330, 90  # pixels: between axes, above them, their length, beside them
CIVIDIS = ((0, 32, 76), (87, 93, 109), (124, 123, 120), (187, 175, 113), (236, 215, 80))  # best to worst
LEGEND = (
    "A line is a trial, the darker the better; the thick one is the best. Dashed lines were stopped early, dotted ones "
    "failed. Point at a line for its trial, at a heading of the table to sort."
)
PICTURE = """<style>
svg.trials { width: 100%; background: #ffffff; color: #1a1a1a; border: 1px solid var(--line); border-radius: 4px; }
svg.trials text { font: 12px system-ui, sans-serif; fill: #1a1a1a; paint-order: stroke; stroke: #ffffff;
  stroke-width: 3px; }
svg.trials .axis { stroke: #595959; stroke-width: 1.2; }
svg.trials polyline { fill: none; stroke-width: 2.2; stroke-opacity: 0.85; }
svg.trials polyline.best { stroke-width: 5; stroke-opacity: 1; }
svg.trials polyline.stopped { stroke-dasharray: 7 4; }
svg.trials polyline.failed { stroke: #a33c00; stroke-width: 1.2; stroke-dasharray: 2 4; }
svg.trials polyline:hover { stroke-width: 7; stroke-opacity: 1; }
</style>"""


@dataclass(frozen=True)
class Axis:
    """One vertical line of the picture.

    Attributes:
        name: What it shows.
        place: Where a value stands, from 0 (bottom) to 1.
        ticks: Texts beside the line and where they stand.
    """

    name: str
    place: Callable[[Any], float]
    ticks: tuple[tuple[float, str], ...]


def write_page(record: Record, space: Space, bigger: bool, metric: str) -> None:
    """Writes the page into the search's folder.

    Args:
        record: The search, as far as it is.
        space: What it searches.
        bigger: Whether a larger score is a better one.
        metric: What the score is, such as ``ndcg@10``.

    Raises:
        UserError: The file cannot be written.
    """
    with atomic_file(record.path / FILE) as file:
        file.write(search_page(record, space, bigger, metric).encode())


def search_page(record: Record, space: Space, bigger: bool, metric: str) -> str:
    """Returns the page; arguments as for :func:`write_page`."""
    command = record.command
    title = f"Search: {command.get('model')} on {command.get('dataset')}"
    best = ranked(record.trials, bigger)
    told = f"{len(record.trials)} trials, {len(best)} with a score: {metric} on validation; no trial is tested."
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(told)}</p>"]
    if record.winner:
        winner = f"Winner: trial {record.winner['number']}, run {record.winner['folder']}"
        body.append(f"<p>{escape(winner)}</p>")
    if record.trials:
        caption = f"<figcaption>{escape(LEGEND)}</figcaption></figure>"
        body += [PICTURE, "<figure>", picture(record.trials, space, bigger, metric), caption, _table(record, space)]
    return document(body, title)


def picture(trials: Sequence[Trial], space: Space, bigger: bool, metric: str) -> str:
    """Returns the parallel coordinates as SVG; the best trials come last, so that they lie on top."""
    best = ranked(trials, bigger)
    scores = [trial.score for trial in best if trial.score is not None]
    axes, score_axis = [*map(axis_of, space)], _score_axis(scores, f"valid {metric}")
    width = 2 * SIDE + STEP * len(axes)
    parts = [
        f'<svg class="trials" viewBox="0 0 {width} {TOP + HEIGHT + 40}" role="img" '
        'aria-label="Trials across their parameters">'
    ]
    for trial in [*(one for one in trials if one not in best), *reversed(best)]:
        heights = [axis.place(trial.parameters[one.name]) for axis, one in zip(axes, space, strict=True)]
        if trial in best:
            heights.append(score_axis.place(trial.score))
            light = 1 - heights[-1] if bigger else heights[-1]
            parts.append(_line(trial, heights, trial.state + (" best" if trial is best[0] else ""), _colour(light)))
        else:
            parts.append(_line(trial, heights, "failed", None))
    parts += [part for place, axis in enumerate([*axes, score_axis]) for part in _drawn(axis, SIDE + STEP * place)]
    return "\n".join([*parts, "</svg>"])


def axis_of(parameter: Parameter) -> Axis:
    """Returns the axis of a parameter."""
    if isinstance(parameter, Choice):
        places = {repr(option): place for place, option in enumerate(parameter.options)}
        last = max(1, len(places) - 1)
        ticks = tuple((place / last, _shown(option)) for place, option in enumerate(parameter.options))
        return Axis(parameter.name, lambda value: places[repr(value)] / last, ticks)
    low, high = float(getattr(parameter, "low")), float(getattr(parameter, "high"))  # noqa: B009  (not in the protocol)
    log = isinstance(parameter, Uniform) and parameter.log

    def place(value: Any) -> float:
        number = math.log(value) if log else float(value)
        return min(max((number - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    ends = [low + share * (high - low) for share in (0.0, 0.5, 1.0)]
    ticks = tuple(
        (share, _shown(math.exp(end) if log else end)) for share, end in zip((0.0, 0.5, 1.0), ends, strict=True)
    )
    return Axis(parameter.name + (" (log)" if log else ""), place, ticks)


def _score_axis(scores: Sequence[float], name: str) -> Axis:
    low, high = (min(scores), max(scores)) if scores else (0.0, 1.0)

    def place(score: Any) -> float:
        return (score - low) / (high - low) if high > low else 0.5

    return Axis(name, place, tuple((place(end), f"{end:.4f}") for end in dict.fromkeys((low, high))) if scores else ())


def _line(trial: Trial, heights: Sequence[float], style: str, colour: str | None) -> str:
    """The line of a trial through heights from 0 (bottom) to 1; without a colour it has no score."""
    points = " ".join(
        f"{SIDE + STEP * number},{TOP + HEIGHT * (1 - height):.1f}" for number, height in enumerate(heights)
    )
    stroke = f' stroke="{colour}"' if colour else ""
    named = ", ".join(f"{name} {_shown(value)}" for name, value in trial.parameters.items())
    score = f"{trial.score:.4f}" if colour else trial.state
    title = escape(f"trial {trial.number}: {score}; {named}")
    return f'<polyline class="{style}" points="{points}"{stroke}><title>{title}</title></polyline>'


def _colour(light: float) -> str:
    """A colour of the palette: 0 is dark, 1 light."""
    place = light * (len(CIVIDIS) - 1)
    left = min(int(place), len(CIVIDIS) - 2)
    mixed = (round(a + (place - left) * (b - a)) for a, b in zip(CIVIDIS[left], CIVIDIS[left + 1], strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def _drawn(axis: Axis, x: int) -> list[str]:
    """The axis with its name, and texts where there is room for them."""
    parts = [
        f'<line class="axis" x1="{x}" y1="{TOP}" x2="{x}" y2="{TOP + HEIGHT}"/>',
        f'<text x="{x}" y="{TOP - 28}" text-anchor="middle">{escape(axis.name)}</text>',
    ]
    room = max(1, math.ceil(len(axis.ticks) * 14 / HEIGHT))
    for place, text in axis.ticks[::room]:
        parts.append(f'<text x="{x + 6}" y="{TOP + HEIGHT * (1 - place) + 4:.1f}">{escape(text[:18])}</text>')
    return parts


def _table(record: Record, space: Space) -> str:
    names = [parameter.name for parameter in space]
    columns = ["trial", "state", "score", "epochs", "seconds", *names, "error"]
    rows = []
    for trial in record.trials:
        score = "" if trial.score is None else f"{trial.score:.5f}"
        seconds = "" if trial.seconds is None else f"{trial.seconds:.0f}"
        epochs = "" if trial.epochs is None else str(trial.epochs)
        address = escape(f"{trial.folder}/")
        cells = [
            cell("", trial.number, f'<a href="{address}">{trial.number}</a>'),
            cell(trial.state, trial.state, style="text"),
            cell(score, trial.score),
            cell(epochs, trial.epochs),
            cell(seconds, trial.seconds),
            *(cell(_shown(trial.parameters[name]), _key(trial.parameters[name])) for name in names),
            cell(trial.error or "", trial.error or "", style="text"),
        ]
        rows.append(f"<tr{' class=failed' if trial.state == 'failed' else ''}>{''.join(cells)}</tr>")
    return table(columns, rows, "Trials", ("state", "error"))


def _key(value: Any) -> str | float:
    return value if isinstance(value, int | float) else str(value)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "~" if value is None else str(value)

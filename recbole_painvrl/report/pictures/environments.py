"""What the identification found: how large its environments are, whether it settles, and whom it agrees with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.report.pictures.steps import along, mark_rounds, offsets
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import (
    BLUE,
    HEAT,
    LOOKS,
    cut,
    draw_runs,
    ink_on,
    mean_line,
    new_figure,
    plain_text,
    seeds_note,
    whole_ticks,
)

PANELS = 4  # of runs side by side
WRITTEN = 12  # cells a side up to which a count is written into each
UPRIGHT, LONGEST = 5, 16  # letters of a name up to which it stands upright under its column, and is not cut
Rounds = dict[int, list[dict[str, Any]]]


def environment_sizes(selected: Selected) -> Drawing:
    """Draws the environments' shares, from the largest to the smallest, and the share that moved, over iterations.

    Given environments have neither iterations nor interactions that move: their shares are drawn by round.
    """
    runs = selected.configuration.runs
    found = [_rounds(run) for run in runs]
    given = runs[0].settings.get("env_field")
    figure, note = _draw_given(found, given) if given else _draw_found(found, len(runs))
    rows: list[tuple[Cell, ...]] = [
        (run.seed, number, iteration, None if given else row.get("moved"), " ".join(map(str, row["sizes"])))
        for run, rounds in zip(runs, found, strict=True)
        for number, rows in rounds.items()
        for iteration, row in enumerate(rows, start=1)
    ]
    header = ("seed", "round", "iteration", "moved", "sizes")
    return Drawing(f"Environments: {selected.configuration.title}", note, figure, header, rows)


def _rounds(run: Run) -> Rounds:
    """The iterations of each round; the round itself where there were none, as with given environments."""
    seen = run.records("identification")
    if not seen:
        raise Absent("no environments were identified")
    return {one["round"]: one.get("history") or [one] for one in seen}


def _draw_found(found: Sequence[Rounds], seeds: int) -> tuple[Any, str]:
    """Returns the figure of environments that were looked for, and its caption."""
    begins = offsets(list(found))
    figure, axes = new_figure(6.6, 4.6, 2, 1, sharex=True)
    _stack(axes[0, 0], found, begins, 0.92)
    draw_runs(axes[1, 0], [along(rounds, begins, "moved") for rounds in found], LOOKS[0], "moved")
    axes[0, 0].set(ylabel="share of interactions", ylim=(0, 1))
    axes[1, 0].set(ylabel="share that moved", ylim=(-0.03, 1.03), xlabel="iterations of the identification")
    whole_ticks(axes[1, 0].xaxis)
    axes[1, 0].set_xlim(left=0.3)
    for panel, named in ((axes[0, 0], True), (axes[1, 0], False)):
        mark_rounds(panel, begins, named)
    return figure, (
        "Above, the environments stacked from the largest (bottom) to the smallest (top), mean over seeds; below, the "
        f"share of interactions that changed environment ({seeds_note(seeds)})."
    )


def _draw_given(found: Sequence[Rounds], field: str) -> tuple[Any, str]:
    """Returns the figure of environments that a column of the data names, and its caption."""
    numbers = sorted({number for rounds in found for number in rounds})
    figure, axes = new_figure(3.2 + 0.5 * len(numbers), 3.4)
    panel = axes[0, 0]
    _stack(panel, found, {number: number - 1 for number in numbers}, 0.6)
    panel.set(ylabel="share of interactions", ylim=(0, 1), xlabel="round")
    panel.set(xticks=numbers, xlim=(numbers[0] - 1, numbers[-1] + 1))
    return figure, (
        f"The environments that the column {field} gives, stacked from the largest (bottom) to the smallest (top), "
        "mean over seeds. Nothing was identified, so that none of the interactions could move."
    )


def _shares(rounds: Rounds, begins: dict[int, int], rank: int) -> dict[float, float]:
    sized = {number: [{"share": _share(row["sizes"], rank)} for row in rows] for number, rows in rounds.items()}
    return along(sized, begins, "share")


def _share(sizes: Sequence[int], rank: int) -> float:
    return sorted(sizes, reverse=True)[rank] / max(1, sum(sizes)) if rank < len(sizes) else 0.0


def _stack(axes: Any, found: Sequence[Rounds], begins: dict[int, int], width: float) -> None:
    """Draws a bar an iteration, of the environments' shares from the largest to the smallest, mean over seeds."""
    n_environments = max(len(row["sizes"]) for rounds in found for rows in rounds.values() for row in rows)
    shares = [mean_line([_shares(rounds, begins, rank) for rounds in found]) for rank in range(n_environments)]
    places = [place for place, share in shares[0].items() if not math.isnan(share)]
    floor = np.zeros(len(places))
    tints = np.linspace(1.0, 0.25, len(shares))
    for tint, share in zip(tints, shares, strict=True):
        heights = np.array([share[place] for place in places])
        axes.bar(places, heights, bottom=floor, width=width, color=BLUE, alpha=tint, edgecolor="white", linewidth=0.6)
        floor += heights


def assignment(selected: Selected) -> Drawing:
    """Draws how the environments that were found last meet those that the data name."""
    known = [(run, one["known"]) for run in selected.configuration.runs if (one := _last_known(run))]
    if not known:
        raise Absent("no identification record holds `known`; the training interactions need a column environment")
    shown = known[:PANELS]
    tables = [np.asarray(one["table"], dtype=float) for _, one in shown]
    size = 1.1 + 0.34 * max(table.shape[1] for table in tables), 1.5 + 0.34 * max(len(table) for table in tables)
    width = max(size[0], 2.4)
    figure, axes = new_figure(width * len(shown) + 1.4, max(size[1], 3.0), 1, len(shown))
    for (run, one), table, panel in zip(shown, tables, axes[0], strict=True):
        image = _table(panel, table, _names(one))
        panel.set_title(f"seed {run.seed}\nARI {one['ari']:.2f}, NMI {one['nmi']:.2f}", fontsize=9)
        panel.set_xlabel(f"known ({one.get('field', 'environment')})")
    axes[0, 0].set_ylabel("found environment")
    figure.colorbar(image, ax=list(axes[0]), label="share of the found environment", pad=0.01, ticks=[0, 0.5, 1])
    rows: list[tuple[Cell, ...]] = [
        (run.seed, found, given, int(count), one["ari"], one["nmi"])
        for run, one in known
        for found, counts in enumerate(one["table"])
        for given, count in zip(_names(one), counts, strict=True)
    ]
    left_out = f" The first {PANELS} of {len(known)} seeds; the others are in the CSV." if len(known) > PANELS else ""
    note = (
        f"Interactions of the last round by found (rows) and known environment; colors are shares of a row.{left_out}"
    )
    header = ("seed", "found", "known", "interactions", "ari", "nmi")
    return Drawing(f"Found and known environments: {selected.configuration.title}", note, figure, header, rows)


def _last_known(run: Run) -> dict[str, Any] | None:
    return next((one for one in reversed(run.records("identification")) if one.get("known")), None)


def _names(known: Mapping[str, Any]) -> list[str]:
    """The known environments' own names, or their numbers."""
    return known.get("names") or [str(number) for number in range(len(known["table"][0]))]


def _table(axes: Any, table: NDArray[Any], names: Sequence[str]) -> Any:
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    image = axes.imshow(shares, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > UPRIGHT else {}
    labels = [plain_text(cut(name, LONGEST)) for name in names]
    axes.set_xticks(range(table.shape[1]), labels, **slanted)
    axes.set_yticks(range(table.shape[0]))
    if max(table.shape) <= WRITTEN:
        for (row, column), count in np.ndenumerate(table):
            ink = ink_on(shares[row, column])
            axes.text(column, row, _short(count), ha="center", va="center", color=ink, fontsize=7.5)
    return image


def _short(count: float) -> str:
    return f"{count:.0f}" if count < 1000 else f"{count / 1000:.3g}k"

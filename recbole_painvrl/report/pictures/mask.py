"""The mask: how it settles over the rounds, and how it meets a planted truth."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import BLACK, HEAT, LOOKS, draw_runs, look, new_figure, seeds_note, whole_ticks

KINDS = ("invariant", "spurious", "noise")
LEARNED = "learned"
LAST = "in the order of the last round's mask"
Rounds = dict[int, dict[str, list[float]]]


def mask_rounds(selected: Selected) -> Drawing:
    """Draws each modality's mask over the rounds: its dimensions in order as a heat strip, and its mean."""
    runs = selected.configuration.runs
    found = [_rounds(run) for run in runs]
    modalities, numbers = list(found[0][min(found[0])]), sorted(set.intersection(*map(set, found)))
    kind = turned(runs[0].settings)
    orders = [_orders(one, numbers[-1], apart=kind == LEARNED) for one in found]
    heights = [0.45 + 0.2 * len(numbers)] * len(modalities)
    figure, axes = new_figure(6.6, sum(heights) + 2.9, len(modalities) + 1, 1, height_ratios=[*heights, 2.0])
    for name, strip in zip(modalities, axes[:-1, 0], strict=True):
        values = [
            [[one[number][name][dimension] for dimension in order[number][name]] for number in numbers]
            for one, order in zip(found, orders, strict=True)
        ]
        image = _strip(strip, np.mean(values, axis=0), numbers)
        strip.set_title(name, loc="left")
    what = f"{kind} axes" if kind else "dimensions"
    axes[-2, 0].set_xlabel(f"{what} of the modality, {'sorted anew in each round' if kind == LEARNED else LAST}")
    figure.colorbar(
        image, ax=list(axes[:-1, 0]), label="mask", pad=0.01, aspect=12 * len(modalities), ticks=[0, 0.5, 1]
    )
    _means(axes[-1, 0], found, modalities, numbers)
    rows: list[tuple[Cell, ...]] = [
        (run.seed, number, name, dimension, place, value)
        for run, one, order in zip(runs, found, orders, strict=True)
        for number, values in one.items()
        for name, column in values.items()
        for dimension, (place, value) in enumerate(zip(_places(order[number][name]), column, strict=True))
    ]
    note = (
        f"Each strip holds one modality's {what}, a line a round, {_sorted(kind, len(runs))} Below, the mean mask "
        f"({seeds_note(len(runs))}). 1 is invariant, 0 variant."
    )
    header = ("seed", "round", "modality", "dimension", "place", "mask")
    return Drawing(f"Mask over the rounds: {selected.configuration.title}", note, figure, header, rows)


def _orders(rounds: Rounds, last: int, apart: bool) -> dict[int, dict[str, list[int]]]:
    """Each modality's dimensions from the largest mask to the smallest, by round: of round ``last``, or each its own.

    Learned axes are others in each round, so that there is nothing to follow from one to the next.
    """
    return {
        number: {name: _descending(rounds[number if apart else last][name]) for name in rounds[number]}
        for number in rounds
    }


def _descending(values: Sequence[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda dimension: -values[dimension])


def _places(order: Sequence[int]) -> list[int]:
    """Where each dimension stands in ``order``."""
    places: list[int] = np.argsort(order).tolist()
    return places


def _sorted(kind: str, seeds: int) -> str:
    """What the caption says about the order of the columns."""
    if kind == LEARNED:
        text = "each line sorted by itself from the largest mask to the smallest, for the axes are others in each round"
    else:
        text = f"sorted by the mask of the last one: a column is the same {'axis' if kind else 'dimension'} in all"
    return text + (", and averaged over seeds by its place." if seeds > 1 else ".")


def turned(settings: Mapping[str, Any]) -> str:
    """Returns which axes a run's mask is over, ``learned`` or ``rotated`` ones; empty for the features' own columns."""
    if settings.get("mask_axes") not in (None, "features"):
        return LEARNED
    return "rotated" if settings.get("feature_rotation") not in (None, "none") else ""


def _rounds(run: Run) -> Rounds:
    made = run.records("mask")
    if not made:
        raise Absent("no mask was generated")
    values = {one["round"]: one["values"] for one in made if one.get("values")}
    if not values:
        raise Absent("the mask records hold no `values`; run again with this version")
    return values


def _strip(axes: Any, values: NDArray[Any], numbers: Sequence[int]) -> Any:
    image = axes.imshow(values, aspect="auto", cmap=HEAT, vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks(range(len(numbers)), [str(number) for number in numbers])
    whole_ticks(axes.xaxis)
    axes.set_ylabel("round")
    return image


def _means(axes: Any, found: Sequence[Rounds], modalities: Sequence[str], numbers: Sequence[int]) -> None:
    for position, name in enumerate(modalities):
        lines = [{float(number): fmean(one[number][name]) for number in numbers} for one in found]
        draw_runs(axes, lines, look(position), name)
    axes.set(xlabel="round", ylabel="mean mask", ylim=(-0.03, 1.03), xticks=numbers)
    axes.legend(ncols=min(4, len(modalities)), loc="best")


def mask_truth(selected: Selected) -> Drawing:
    """Draws the final mask of each dimension by its planted kind, and how well the mask tells the kinds apart."""
    runs = selected.configuration.runs
    if axes_kind := turned(runs[0].settings):
        raise Absent(f"the mask is over {axes_kind} axes, which truth.csv does not know")
    masks, truth = [_final(run) for run in runs], read_truth(runs[0].data_folder / "truth.csv")
    modalities = list(dict.fromkeys(name for name, _ in truth))
    figure, axes = new_figure(max(4.6, 1.2 + 2.1 * len(modalities)), 3.4, 1, len(modalities), sharey=True)
    for name, panel in zip(modalities, axes[0], strict=True):
        _kinds(panel, name, masks, truth)
    axes[0, 0].set_ylabel("final mask")
    rows: list[tuple[Cell, ...]] = [
        (run.seed, name, dimension, kind, mask.get((name, dimension)))
        for run, mask in zip(runs, masks, strict=True)
        for (name, dimension), kind in truth.items()
    ]
    note = (
        f"A point a dimension and seed ({len(runs)}), a bar the mean of its kind. AUC: chance that an invariant "
        "dimension has a larger mask than a spurious one, mean over seeds."
    )
    header = ("seed", "modality", "dimension", "truth", "mask")
    return Drawing(f"Mask against the planted truth: {selected.configuration.title}", note, figure, header, rows)


def _final(run: Run) -> dict[tuple[str, str], float]:
    file = run.path / "mask.csv"
    if not file.is_file():
        raise Absent("there is no mask.csv")
    return {(row["modality"], row["dimension"]): float(row["mask"]) for row in _table(file, "modality dimension mask")}


def read_truth(file: Path) -> dict[tuple[str, str], str]:
    """Returns the kind of each modality's dimension, from a file with columns ``modality,dimension,truth``."""
    if not file.is_file():
        raise Absent(f"there is no {file}")
    return {(row["modality"], row["dimension"]): row["truth"] for row in _table(file, "modality dimension truth")}


def _table(file: Path, columns: str) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as text:
        rows = csv.DictReader(text)
        if not set(columns.split()) <= set(rows.fieldnames or ()):
            raise Absent(f"{file} lacks one of the columns {columns.replace(' ', ', ')}")
        return list(rows)


def _kinds(
    axes: Any, name: str, masks: Sequence[Mapping[tuple[str, str], float]], truth: Mapping[tuple[str, str], str]
) -> None:
    present = [kind for kind in KINDS if kind in truth.values()]
    for place, kind in enumerate(present):
        wanted = [key for key, value in truth.items() if value == kind and key[0] == name]
        values = [mask[key] for mask in masks for key in wanted if key in mask]
        spread = place + 0.5 * ((np.arange(len(values)) * 0.618) % 1.0 - 0.5)  # spread evenly, without a draw
        how = LOOKS[place]
        axes.plot(spread, values, how.marker, color=how.color, markersize=3.5, alpha=0.6, markeredgewidth=0)
        if values:
            axes.hlines(fmean(values), place - 0.38, place + 0.38, color=BLACK, linewidth=2.2)
    axes.set_xticks(range(len(present)), present)
    axes.set(ylim=(-0.04, 1.04), xlim=(-0.55, len(present) - 0.45))
    areas = [area for mask in masks if (area := _area(mask, truth, name)) is not None]
    axes.set_title(f"{name}, AUC {fmean(areas):.2f}" if areas else name)


def _area(mask: Mapping[tuple[str, str], float], truth: Mapping[tuple[str, str], str], name: str) -> float | None:
    by_kind = [
        np.array([mask[key] for key, value in truth.items() if value == kind and key[0] == name and key in mask])
        for kind in ("invariant", "spurious")
    ]
    if not all(len(values) for values in by_kind):
        return None
    difference = by_kind[0][:, None] - by_kind[1][None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())

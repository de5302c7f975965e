"""Training curves: the losses, the validation metric and where a new stage begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import GRAY, LOOKS, draw_runs, look, new_figure, seeds_note, whole_ticks

LETTER = 0.015  # width of a letter of a stage's name, as a share of the horizontal axis


def training_curves(selected: Selected) -> Drawing:
    """Draws the losses by name and the validation metric over epochs, with the stages marked."""
    runs = selected.configuration.runs
    losses = [_losses(run) for run in runs]
    if not any(losses):
        raise Absent("no epoch was recorded")
    valid = [
        {float(one["epoch"] + 1): one["score"] for one in run.records("valid") if one["score"] is not None}
        for run in runs
    ]
    figure, axes = new_figure(6.6, 4.8, 2, 1, sharex=True)
    names = list(dict.fromkeys(name for one in losses for name in one))
    for position, name in enumerate(names):
        draw_runs(axes[0, 0], [one[name] for one in losses if name in one], look(position), name)
    if len(names) > 1:
        axes[0, 0].legend(loc="best", ncols=min(4, len(names)))
    axes[0, 0].set_ylabel("training loss")
    if any(valid):
        draw_runs(axes[1, 0], [one for one in valid if one], LOOKS[0], runs[0].metric)
    axes[1, 0].set(xlabel="epoch", ylabel=f"validation {runs[0].metric}")
    whole_ticks(axes[1, 0].xaxis)
    marks = stages(runs[0])
    _mark(axes[:, 0], marks)
    rows: list[tuple[Cell, ...]] = [
        (run.seed, int(epoch), what, value)
        for run, one, scores in zip(runs, losses, valid, strict=True)
        for what, line in [*one.items(), (f"valid {run.metric}", scores)]
        for epoch, value in line.items()
    ]
    rows += [(runs[0].seed, epoch, "stage", name) for epoch, name in marks]
    note = f"Over epochs ({seeds_note(len(runs))})." + (
        " Dashed lines are where a stage begins, with its rounds." if marks else ""
    )
    header = ("seed", "epoch", "series", "value")
    return Drawing(f"Training: {selected.configuration.title}", note, figure, header, rows)


def _losses(run: Run) -> dict[str, dict[float, float]]:
    """The losses by name and epoch, counted from 1; the total is ``loss``."""
    lines: dict[str, dict[float, float]] = {}
    for one in run.records("train"):
        for name, value in {"loss": one["loss"], **one.get("losses", {})}.items():
            if value is not None:
                lines.setdefault(name, {})[float(one["epoch"] + 1)] = value
    return lines


def stages(run: Run) -> list[tuple[int, str]]:
    """Returns the epochs (from 1) after which identification and mask ran, 0 for before the first, and which rounds."""
    rounds: dict[int, list[int]] = {}
    epoch = 0
    for one in run.records("train", "mask"):
        if one["event"] == "train":
            epoch = one["epoch"] + 1
        else:
            rounds.setdefault(epoch, []).append(one["round"])
    return [(epoch, _named(numbers)) for epoch, numbers in rounds.items()]


def _named(numbers: Sequence[int]) -> str:
    return f"round {numbers[0]}" if len(numbers) == 1 else f"rounds {numbers[0]} to {numbers[-1]}"


def _mark(panels: Sequence[Any], marks: Sequence[tuple[int, str]]) -> None:
    """Draws a line where each stage begins, named where the name does not run into that of the next."""
    for epoch, _ in marks:
        for panel in panels:
            panel.axvline(epoch + 0.5, color=GRAY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
    where, (low, high) = panels[0].get_xaxis_transform(), panels[0].get_xlim()
    room = math.inf
    for epoch, text in reversed(_labels(marks)):
        if epoch + len(text) * LETTER * (high - low) <= room:
            panels[0].text(epoch + 0.5, 1.02, text, transform=where, fontsize=8, color=GRAY)
            room = epoch


def _labels(marks: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The names of the stages; of several, the numbers of their rounds alone, for they may be close to each other."""
    texts = [name.partition(" ")[2] if len(marks) > 1 else name for _, name in marks]
    texts[-1:] = [f"{text}, then final training" for text in texts[-1:]]
    return [(epoch, text) for (epoch, _), text in zip(marks, texts, strict=True)]

"""Paired differences of every model against the best baseline, with confidence intervals, one panel a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_painvrl.report.leaderboard import Leaderboard
from recbole_painvrl.report.pairs import BASELINE, SEEDS, USERS, Comparison
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.style import BLUE, GRAY, VERMILLION, new_figure, plain_text

PANELS = 4  # of test sets side by side
LETTER = 0.08  # width of a letter of a name in inches
HEADER = ("model", "reference", "test_set", "over", "n", "difference", "ci95_low", "ci95_high", "p_t_holm")


def paired_differences(board: Leaderboard) -> Drawing:
    """Draws each model's mean difference from the best baseline of each test set.

    Raises:
        Absent: There are no two models with common users or seeds.
    """
    shown = _preferred([one for one in board.comparisons if BASELINE in one.roles])
    if not shown:
        raise Absent("no two models have common users or seeds to pair")
    by_set: dict[str, list[Comparison]] = {}
    for one in shown:
        by_set.setdefault(one.test_set, []).append(one)
    panels = list(by_set.items())[:PANELS]
    over_seeds = {one.model.configuration.model for one in shown if one.over == SEEDS}
    compared, references = {one.model.configuration.model for one in shown}, _references(shown)
    models = [line.selected.configuration.model for line in board.chosen]
    names = [name for name in models if name in compared or name not in references]
    labels = [plain_text(name) + (" (seeds)" if name in over_seeds else "") for name in names]
    width = 1.2 + LETTER * max(map(len, labels)) + 2.7 * len(panels)
    figure, axes = new_figure(width, 1.6 + 0.3 * len(names), 1, len(panels), sharey=True)
    axes[0, 0].set_yticks(range(len(names)), labels)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    for panel, (name, of_set) in zip(axes[0], panels, strict=True):
        _draw(panel, of_set, names, board.bigger)
        (reference,) = _references(of_set)
        panel.set(title=f"{name}\nless {plain_text(reference)}", xlabel=f"difference in {board.metric}")
    title = f"Paired differences from the best baseline: {plain_text(board.dataset)}"
    return Drawing(title, _note(by_set), figure, HEADER, [_row(one) for one in shown])


def _references(found: Sequence[Comparison]) -> set[str]:
    return {one.reference.configuration.model for one in found}


def _preferred(found: Sequence[Comparison]) -> list[Comparison]:
    """Returns one comparison a model and test set, that over users if there is one."""
    by_users = {(one.test_set, id(one.model)) for one in found if one.over == USERS}
    return [one for one in found if one.over == USERS or (one.test_set, id(one.model)) not in by_users]


def _note(by_set: Mapping[str, Sequence[Comparison]]) -> str:
    references = ", ".join(f"{name} of {test_set}" for test_set, found in by_set.items() for name in _references(found))
    n_sets = len(by_set)
    left_out = f" Of {n_sets} sets the first {PANELS}; the others are in the CSV." if n_sets > PANELS else ""
    return (
        f"Each model less the best baseline of that test set ({references}): mean over users, or over seeds where a "
        "model's users are not recorded, with 95 % intervals (paired t, not corrected). Filled: significant after "
        f"Holm's correction over the table; hollow: not. Circles are better, squares worse.{left_out}"
    )


def _draw(panel: Any, shown: Sequence[Comparison], names: Sequence[str], bigger: bool) -> None:
    panel.axvline(0, color=GRAY, linewidth=1, linestyle="--", zorder=0)
    panel.grid(axis="x", color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)
    panel.locator_params(axis="x", nbins=4)
    for one in shown:
        found, place = one.result, names.index(one.model.configuration.model)
        better = found.difference > 0 if bigger else found.difference < 0
        color = BLUE if better else VERMILLION
        panel.plot([found.low, found.high], [place, place], "|-", color=color, linewidth=1.4, markersize=9)
        face = color if one.differs else "white"
        marker = "o" if better else "s"
        panel.plot(found.difference, place, marker, color=color, markerfacecolor=face, markersize=4.5)


def _row(one: Comparison) -> tuple[Cell, ...]:
    found, names = one.result, (one.model.configuration.name, one.reference.configuration.name)
    return (*names, one.test_set, one.over, found.n, found.difference, found.low, found.high, one.t.holm)

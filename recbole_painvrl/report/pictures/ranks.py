"""Mean ranks of the models over data sets and seeds, those too close to tell apart joined by a bar.

Source: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 7, 2006), sections 3.2.2, 3.2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.report.leaderboard import Leaderboard
from recbole_painvrl.report.pairs import seed_values
from recbole_painvrl.report.sheet import Absent, Cell, Drawing
from recbole_painvrl.report.significance import LEVEL
from recbole_painvrl.report.style import BLACK, BLUE, VERMILLION, new_figure, plain_text

LEAST_MODELS, LEAST_BLOCKS = 3, 5
STEP = 0.42  # between the lines of names, in units of the vertical axis


def critical_difference(boards: Sequence[Leaderboard], test_set: str = "test") -> Drawing:
    """Draws the mean rank of each model over all blocks (a data set and a seed) that all models have a value in.

    Raises:
        Absent: There are fewer than 3 models or 5 blocks.
    """
    models = sorted({line.selected.configuration.model for board in boards for line in board.chosen})
    values = _blocks(boards, models, test_set)
    if len(models) < LEAST_MODELS or len(values) < LEAST_BLOCKS:
        have = f"{len(models)} models and {len(values)} data sets x seeds that all of them have"
        raise Absent(f"ranks need {LEAST_MODELS} models and {LEAST_BLOCKS} blocks, there are {have}")
    from scipy.stats import friedmanchisquare, rankdata

    ranks = rankdata(-values, axis=1).mean(axis=0)
    width = nemenyi(len(models), len(values))
    p = float(friedmanchisquare(*values.T).pvalue)
    order = np.argsort(ranks, kind="stable")
    figure, axes = new_figure(7.2, 1.6 + 0.24 * len(models))
    _draw(axes[0, 0], ranks[order], [models[place] for place in order], width)
    rows: list[tuple[Cell, ...]] = [
        (models[place], test_set, float(ranks[place]), len(values), width, p) for place in order
    ]
    note = (
        f"Rank 1 is best. {len(values)} blocks, each a data set and a seed; Friedman's test: p = {p:.2g}. A bar joins "
        f"models whose ranks differ by less than the critical difference {width:.2f} (Nemenyi, level {LEVEL:g}). Seeds "
        "of one data set are no independent data sets: read it as a summary, not as a claim beyond them."
    )
    header = ("model", "test_set", "mean_rank", "blocks", "critical_difference", "friedman_p")
    return Drawing(f"Mean ranks on {test_set}", note, figure, header, rows)


def nemenyi(models: int, blocks: int) -> float:
    """Returns the difference of mean ranks from which two of ``models`` differ over ``blocks``."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - LEVEL, models, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(models * (models + 1) / (6 * blocks)))


def joined(ranks: Sequence[float], width: float) -> list[tuple[int, int]]:
    """Returns first and last place of each longest stretch of sorted ``ranks`` within ``width``, two or more long."""
    ends = [max(place for place, rank in enumerate(ranks) if rank - first < width) for first in ranks]
    return [(start, end) for start, end in enumerate(ends) if end > start and (start == 0 or ends[start - 1] < end)]


def _blocks(boards: Sequence[Leaderboard], models: Sequence[str], test_set: str) -> NDArray[Any]:
    """Returns the values [blocks, models], larger better."""
    rows = []
    for board in boards:
        found = {
            line.selected.configuration.model: seed_values(line.selected, test_set, board.metric)
            for line in board.chosen
        }
        if set(found) == set(models):
            sign = 1.0 if board.bigger else -1.0
            shared = sorted(set.intersection(*(set(values) for values in found.values())))
            rows += [[sign * found[model][seed] for model in models] for seed in shared]
    return np.array(rows).reshape(-1, len(models))


def _draw(axes: Any, ranks: Sequence[float], names: Sequence[str], width: float) -> None:
    bars, half = joined(ranks, width), (len(names) + 1) // 2
    first = 0.5 + 0.22 * len(bars)  # where the names begin, under the bars
    for place, (rank, name) in enumerate(zip(ranks, names, strict=True)):
        left = place < half
        depth = first + STEP * (place if left else len(names) - 1 - place)
        edge = 0.9 if left else len(names) + 0.1
        axes.plot([rank, rank, edge], [0, depth, depth], color=BLACK, linewidth=0.9, clip_on=False)
        shown = f"{plain_text(name)}  {rank:.2f} " if left else f" {rank:.2f}  {plain_text(name)}"
        axes.text(edge, depth, shown, ha="right" if left else "left", va="center")
    for level, (start, end) in enumerate(bars):
        depth = 0.28 + 0.22 * level
        axes.plot([ranks[start] - 0.04, ranks[end] + 0.04], [depth, depth], color=BLUE, linewidth=3.2)
    axes.plot([1, min(1 + width, len(names))], [-0.75, -0.75], "|-", color=VERMILLION, clip_on=False)
    axes.text(1, -0.95, f"critical difference {width:.2f}", color=VERMILLION, va="bottom", fontsize=8)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.spines["top"].set(visible=True, position=("data", 0))
    axes.xaxis.set_ticks_position("top")
    axes.set_xticks(range(1, len(names) + 1))
    axes.set_yticks([])
    axes.set_xlim(1, len(names))
    axes.set_ylim(first + STEP * half, -1.3)

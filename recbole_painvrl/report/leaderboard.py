"""The leaderboard of a data set by one metric: what every model reached, what it cost, and which ones are as good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from recbole_painvrl.report.cells import Failure
from recbole_painvrl.report.pairs import BEST, SEEDS, USERS, Comparison, best_of, comparisons
from recbole_painvrl.report.pictures.shift import SLIDING
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Choice, Selected
from recbole_painvrl.report.sheet import Cell
from recbole_painvrl.report.table import Values, columns_of, further_sets, groupings_of, rho_text

Place = tuple[bool, bool, float, str]  # what lines are sorted by
COSTS = {"seconds": ("seconds_train", 1), "peak MB": ("peak_rss_mb", 0), "parameters": ("n_parameters", 0)}
DIGITS = 4
NO_ROLE, TOP, TIED, UNTESTED = "", "best", "tied", "untested"
# RecBole's smaller_metrics; a report is made without RecBole
SMALLER_IS_BETTER = ("averagepopularity", "giniindex", "logloss", "mae", "rmse")
HEADER = (
    *("dataset", "metric", "model", "configuration", "state", "seeds", "rho", "column", "mean", "std", "n"),
    *("standing", "runs"),
)


@dataclass(frozen=True)
class Entry:
    """One cell.

    Attributes:
        values: The value of each seed, in the order of the row's choices; none where a seed lacks it.
        digits: Digits behind the point.
        standing: ``best`` of its column, ``tied`` (not significantly different from the best), ``untested``, or empty.
    """

    values: Values
    digits: int = DIGITS
    standing: str = NO_ROLE

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        known = [value for value in self.values if value is not None]
        return fmean(known) if known else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds, of the sample."""
        known = [value for value in self.values if value is not None]
        return stdev(known) if len(known) > 1 else None

    @property
    def text(self) -> str:
        """Mean ± deviation; ``-`` where nothing is known."""
        if self.mean is None:
            return "-"
        shown = format(self.mean, f",.{self.digits}f")
        is_count = self.digits == 0 and self.deviation == 0  # of parameters: the same in every run
        has_spread = self.deviation is not None and not is_count
        return f"{shown} ± {self.deviation:,.{self.digits}f}" if has_spread else shown


@dataclass(frozen=True)
class Line:
    """One configuration and its cells by the name of their column."""

    selected: Selected
    cells: dict[str, Entry]

    @property
    def name(self) -> str:
        """Model, and how it differs from the others of this model."""
        return self.selected.configuration.name

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Its runs at the chosen rho."""
        return self.selected.choices

    @property
    def first_cells(self) -> tuple[str, str]:
        """Number of runs and the chosen rho."""
        return str(len(self.choices)), rho_text(self.choices)


@dataclass(frozen=True)
class Leaderboard:
    """The table of one data set and metric.

    Attributes:
        dataset: Name of the data set.
        metric: The metric.
        bigger: Whether larger values are better.
        lines: The configurations that the rule chose, best on ``test`` first, then the others.
        failures: What a comparison has no result of.
        comparisons: Every model against the best, the best baseline and ERM.
    """

    dataset: str
    metric: str
    bigger: bool
    lines: tuple[Line, ...]
    failures: tuple[Failure, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of values."""
        return tuple(self.lines[0].cells)

    @cached_property
    def chosen(self) -> tuple[Line, ...]:
        """The lines of the configurations that the rule chose."""
        return tuple(line for line in self.lines if line.selected.chosen)

    @cached_property
    def others(self) -> tuple[Line, ...]:
        """The lines of configurations that another one of the same model was preferred to."""
        return tuple(line for line in self.lines if not line.selected.chosen)

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """Returns the cells as rows under :data:`HEADER`, one a cell."""
        for line in self.lines:
            of, runs = line.selected.configuration, [choice.run for choice in line.choices]
            state = "chosen" if line.selected.chosen else "not chosen"
            seeds, paths = " ".join(str(run.seed) for run in runs), " ".join(str(run.path) for run in runs)
            first = (self.dataset, self.metric, of.model, of.differs, state, seeds, rho_text(line.choices))
            for column, cell in line.cells.items():
                known = sum(value is not None for value in cell.values)
                yield (*first, column, cell.mean, cell.deviation, known, cell.standing, paths)
        for one in self.failures:
            seeds, paths = " ".join(map(str, one.seeds)), " ".join(map(str, one.folders))
            first = (self.dataset, self.metric, one.model, "", one.reason, seeds, "")
            yield (*first, "", None, None, 0, "", paths)


def is_bigger_better(metric: str, run: Run) -> bool:
    """Returns whether larger values of ``metric`` are better."""
    return run.bigger if metric == run.metric else metric.partition("@")[0] not in SMALLER_IS_BETTER


def leaderboard(selected: Sequence[Selected], metric: str, failures: Sequence[Failure], ours: str) -> Leaderboard:
    """Returns the table of one data set, of all its configurations; sliding test sets are left to pictures.

    Only configurations that the rule chose are compared and can be best: the best of many would be chosen by the test.
    """
    first = selected[0].configuration
    bigger = is_bigger_better(metric, first.runs[0])
    chosen = [one for one in selected if one.chosen]
    sets = ["test", *(name for name in further_sets(selected) if not SLIDING.fullmatch(name))]
    found = comparisons(chosen, sets, metric, bigger, ours)
    groupings = groupings_of(selected)[:1]
    columns = [_columns(one, metric, sets[1:], groupings) for one in selected]
    standing = _standings(chosen, sets, metric, bigger, found)
    lines = [
        Line(one, {name: Entry(values, digits, standing(one, name)) for name, (values, digits) in cells.items()})
        for one, cells in zip(selected, columns, strict=True)
    ]
    for grouping in groupings:
        _name_best(lines, f"worst {grouping}", bigger)
    lines.sort(key=_place(bigger))
    return Leaderboard(first.dataset, metric, bigger, tuple(lines), tuple(failures), tuple(found))


def _name_best(lines: Sequence[Line], column: str, bigger: bool) -> None:
    """Names the best of a column that nothing is tested in."""
    cells = {id(line): line.cells[column] for line in lines if line.selected.chosen}
    means = [cell.mean for cell in cells.values() if cell.mean is not None]
    top = (max if bigger else min)(means, default=None)
    for line in lines:
        if id(line) in cells and top is not None and line.cells[column].mean == top:
            line.cells[column] = replace(line.cells[column], standing=TOP)


def _place(bigger: bool) -> Callable[[Line], Place]:
    def place(line: Line) -> Place:
        mean = line.cells["test"].mean
        return (not line.selected.chosen, mean is None, 0.0 if mean is None else (-mean if bigger else mean), line.name)

    return place


def _columns(
    one: Selected, metric: str, sets: Sequence[str], groupings: Sequence[str]
) -> dict[str, tuple[Values, int]]:
    cells: dict[str, tuple[Values, int]] = {
        name: (values, DIGITS) for name, values in columns_of(one, metric, sets, groupings).items()
    }
    return cells | {
        name: ([choice.run.result.get(key) for choice in one.choices], digits) for name, (key, digits) in COSTS.items()
    }


def _standings(
    chosen: Sequence[Selected], sets: Sequence[str], metric: str, bigger: bool, found: Sequence[Comparison]
) -> Callable[[Selected, str], str]:
    best = {name: best_of(chosen, name, metric, bigger) for name in sets}
    against = {
        (one.over, one.test_set, id(one.model)): one
        for one in found
        if BEST in one.roles and one.result.p_t is not None
    }

    def standing(one: Selected, column: str) -> str:
        if best.get(column) is None or not one.chosen or not _known(one, column, metric):
            return NO_ROLE
        if one is best[column]:
            return TOP
        keys = [(over, column, id(one)) for over in (USERS, SEEDS)]
        test = next((against[key] for key in keys if key in against), None)
        return UNTESTED if test is None else (NO_ROLE if test.differs else TIED)

    return standing


def _known(one: Selected, test_set: str, metric: str) -> bool:
    rows: list[Mapping[str, Any]] = [choice.row for choice in one.choices]
    return any((row.get(test_set) or {}).get(metric) is not None for row in rows)

"""What one report is made of: the chosen runs, their leaderboards, pictures and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from recbole_painvrl.report.cells import Failure
from recbole_painvrl.report.leaderboard import Leaderboard, leaderboard
from recbole_painvrl.report.pictures import OF_DATA, OF_ROUNDS, risk_path, training_curves
from recbole_painvrl.report.pictures.differences import paired_differences
from recbole_painvrl.report.pictures.groups import group_heat, grouped_sets
from recbole_painvrl.report.pictures.ranks import critical_difference
from recbole_painvrl.report.prices import Price, prices
from recbole_painvrl.report.selection import Rule, Selected
from recbole_painvrl.report.sheet import Absent, Drawing, Sheet, in_file_name

Task = tuple[str, str, Callable[[], Drawing]]  # name of the picture, what it is of, how to draw it
ALL = "all data sets"


@dataclass(frozen=True)
class Picture:
    """A picture that is written.

    Attributes:
        stem: Name of its files without extension.
        title: Its title on one line, with a warning where the rule does not allow claims.
        note: How to read it.
    """

    stem: str
    title: str
    note: str


@dataclass
class Report:
    """What one report is made of.

    Attributes:
        sheet: Where it is written.
        selected: Every configuration at its chosen rho.
        asked_metrics: The metrics to show, the first in pictures; none for all, each run's validation metric first.
        ours: The model that is no baseline.
        failures: Cells of comparisons that have no result.
        notes: What the reader has to know, a line each.
        pictures: The pictures by data set, those of all of them under :data:`ALL`.
    """

    sheet: Sheet
    selected: list[Selected]
    asked_metrics: Sequence[str]
    ours: str
    failures: Sequence[Failure] = ()
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)

    @property
    def rule(self) -> Rule:
        """The rule that chose."""
        return self.sheet.rule

    def metric(self, one: Selected) -> str:
        """Returns the metric shown of a configuration."""
        return self.asked_metrics[0] if self.asked_metrics else one.configuration.runs[0].metric

    def by_dataset(self) -> dict[str, list[Selected]]:
        """Returns the chosen configurations of each data set."""
        cells: dict[str, list[Selected]] = {}
        for one in self.selected:
            if one.chosen:
                cells.setdefault(one.configuration.dataset, []).append(one)
        return cells

    @cached_property
    def boards(self) -> dict[str, list[Leaderboard]]:
        """The leaderboards of each data set, that of the metric shown first."""
        return {dataset: [*self._boards(dataset, chosen)] for dataset, chosen in self.by_dataset().items()}

    @cached_property
    def prices(self) -> dict[str, list[list[Price]]]:
        """What each rho reaches, for each leaderboard of each data set."""
        return {dataset: [*map(prices, boards)] for dataset, boards in self.boards.items()}

    @property
    def lost(self) -> list[Failure]:
        """Failures that no leaderboard shows: nothing of the data set is finished, or it has several leaderboards."""
        return [one for one in self.failures if one.dataset not in self.boards]

    def _boards(self, dataset: str, chosen: Sequence[Selected]) -> Iterator[Leaderboard]:
        selected = [one for one in self.selected if one.configuration.dataset == dataset]
        failures = [one for one in self.failures if one.dataset == dataset]
        results = [choice.row.get("test") or {} for one in chosen for choice in one.choices]
        known = dict.fromkeys([self.metric(chosen[0]), *(name for result in results for name in result)])
        for metric in self.asked_metrics or known:
            yield leaderboard(selected, metric, failures, self.ours)

    def draw(self, front: Sequence[tuple[float, float, float]]) -> None:
        """Draws every picture that the records allow, and notes those that they do not."""
        missing: dict[tuple[str, str], list[str]] = {}
        for dataset, name, subject, task in self._all_tasks(front):
            stem = "_".join(part for part in (in_file_name(dataset), subject, name) if part)
            try:
                self.pictures.setdefault(dataset, []).append(self._written(stem, task()))
            except Absent as reason:
                missing.setdefault((f"{subject} on {dataset}" if subject else dataset, str(reason)), []).append(name)
        self.notes += [f"{of}: not drawn: {', '.join(names)} ({why})" for (of, why), names in missing.items()]

    def _all_tasks(
        self, front: Sequence[tuple[float, float, float]]
    ) -> Iterator[tuple[str, str, str, Callable[[], Drawing]]]:
        for dataset, chosen in self.by_dataset().items():
            for task in self._tasks(dataset, chosen, front):
                yield (dataset, *task)
        main = [boards[0] for boards in self.boards.values()]
        yield ALL, "ranks", "", partial(critical_difference, main)

    def _tasks(
        self, dataset: str, chosen: Sequence[Selected], front: Sequence[tuple[float, float, float]]
    ) -> Iterator[Task]:
        metric = self.metric(chosen[0])
        yield "differences", "", partial(paired_differences, self.boards[dataset][0])
        for name, draw_all in OF_DATA.items():
            yield name, "", partial(draw_all, chosen, metric)
        for test_set in grouped_sets(chosen) or ["test"]:
            yield f"groups_{test_set}", "", partial(group_heat, chosen, metric, test_set)
        for one in chosen:
            model = one.configuration.model
            yield "training", model, partial(training_curves, one)
            if any(run.records("mask", "identification") for run in one.configuration.runs):
                for name, draw_one in OF_ROUNDS.items():
                    yield name, model, partial(draw_one, one)
                others = [other for other in self.selected if other.configuration.title == one.configuration.title]
                yield "risk_path", model, partial(risk_path, one, front, others)
            else:
                self.notes.append(f"{one.configuration.title}: has no rounds, so no pictures of masks and environments")

    def _written(self, name: str, drawing: Drawing) -> Picture:
        stem = self.sheet.picture(name, drawing)
        return Picture(stem, self.sheet.titled(drawing.title).replace("\n", " "), drawing.note)

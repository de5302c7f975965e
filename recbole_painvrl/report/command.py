"""``recbole-painvrl report RUN_FOLDER...``: tables and pictures from records alone."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.report.notes import epoch_notes, seed_notes, signal_notes
from recbole_painvrl.report.pictures import OF_DATA, OF_ROUNDS, risk_path, training_curves
from recbole_painvrl.report.pictures.groups import group_heat, grouped_sets
from recbole_painvrl.report.pictures.pareto import read_front
from recbole_painvrl.report.runs import configurations, find_runs
from recbole_painvrl.report.selection import RULES, Rule, Selected, select
from recbole_painvrl.report.sheet import Absent, Drawing, Sheet
from recbole_painvrl.report.style import check_matplotlib, house_style
from recbole_painvrl.report.table import csv_rows, further_sets, markdown

Task = tuple[str, str, Callable[[], Drawing]]  # name of the picture, what it is of, how to draw it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to ``parser``."""
    parser.add_argument("folders", nargs="+", metavar="RUN_FOLDER", help="runs, or folders above them such as runs/")
    parser.add_argument("--output", default="report", metavar="FOLDER", help="where to write (default: report)")
    parser.add_argument("--rule", default="iid_validation", metavar="NAME", help=f"what chooses: {', '.join(RULES)}")
    parser.add_argument(
        "--metric", metavar="NAME", help="what to show, such as recall@20 (default: the validation metric)"
    )
    parser.add_argument("--front", metavar="FILE.csv", help="a sweep over fixed weights, columns erm,irm,weight")
    parser.add_argument("--png", action="store_true", help="pictures as PNG too")


@dataclass
class Report:
    """What one report is made of.

    Attributes:
        sheet: Where it is written.
        selected: Every configuration at its chosen rho.
        asked_metric: The metric to show; None for each run's validation metric.
        notes: What the reader has to know, a line each.
        pictures: Markdown of the pictures, by data set.
    """

    sheet: Sheet
    selected: list[Selected]
    asked_metric: str | None
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, list[str]] = field(default_factory=dict)

    @property
    def rule(self) -> Rule:
        """The rule that chose."""
        return self.sheet.rule

    def metric(self, one: Selected) -> str:
        """Returns the metric shown of a configuration."""
        return self.asked_metric or one.configuration.runs[0].metric

    def by_dataset(self) -> dict[str, list[Selected]]:
        """Returns the chosen configurations of each data set."""
        cells: dict[str, list[Selected]] = {}
        for one in self.selected:
            if one.chosen:
                cells.setdefault(one.configuration.dataset, []).append(one)
        return cells

    def draw(self, front: Sequence[tuple[float, float, float]]) -> None:
        """Draws every picture that the records allow, and notes those that they do not."""
        missing: dict[tuple[str, str], list[str]] = {}
        for dataset, chosen in self.by_dataset().items():
            lines = self.pictures.setdefault(dataset, [])
            for name, subject, task in self._tasks(dataset, chosen, front):
                try:
                    lines += self._entry(f"{dataset}_{subject}_{name}" if subject else f"{dataset}_{name}", task())
                except Absent as reason:
                    missing.setdefault((f"{subject} on {dataset}" if subject else dataset, str(reason)), []).append(
                        name
                    )
        self.notes += [f"{of}: not drawn: {', '.join(names)} ({why})" for (of, why), names in missing.items()]

    def _tasks(self, dataset: str, chosen: Sequence[Selected], front: Sequence) -> Iterator[Task]:
        metric = self.metric(chosen[0])
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
                yield "risk_path", model, partial(risk_path, one, front)
            else:
                self.notes.append(f"{one.configuration.title}: has no rounds, so no pictures of masks and environments")

    def _entry(self, name: str, drawing: Drawing) -> list[str]:
        stem = self.sheet.picture(name, drawing)
        title = self.sheet.titled(drawing.title).replace("\n", " ")
        return [
            f"### {title}",
            "",
            f"![{title}]({stem}.svg)",
            "",
            f"{drawing.note} Numbers: [{stem}.csv]({stem}.csv)",
            "",
        ]


def run(arguments: argparse.Namespace) -> None:
    """Writes the report that the parsed ``arguments`` ask for and prints its table and notes.

    Raises:
        UserError: A folder holds no finished run, a run lacks what the rule needs, or an argument cannot be used.
    """
    if arguments.rule not in RULES:
        known = ", ".join(RULES)
        raise UserError(f"--rule={arguments.rule}: expected one of {known}.{nearest(arguments.rule, RULES)}")
    check_matplotlib()
    front = read_front(arguments.front) if arguments.front else []
    runs, waiting = find_runs(arguments.folders)
    selected = select(configurations(runs), RULES[arguments.rule])
    metric = arguments.metric and _known_metric(arguments.metric.lower(), selected)
    report = Report(Sheet(Path(arguments.output), RULES[arguments.rule], arguments.png), selected, metric)
    report.notes += [f"{path}: left out, it is not finished" for path in waiting]
    report.notes += signal_notes(selected) + seed_notes(selected) + epoch_notes(selected, report.rule)
    with house_style():
        report.draw(front)
    _write(report)


def _known_metric(metric: str, selected: Sequence[Selected]) -> str:
    known = dict.fromkeys(
        name for one in selected for choice in one.choices for name in choice.run.result["test_results"].get("test", {})
    )
    if metric not in known:
        raise UserError(f"--metric={metric}: the runs have {', '.join(known)}.{nearest(metric, known)}")
    return metric


def _write(report: Report) -> None:
    sheet, sets = report.sheet, further_sets(report.selected)
    sheet.table("summary", *csv_rows(report.selected, report.metric, sets))
    tables = {
        dataset: f"Metric: {report.metric(chosen[0])}.\n\n{markdown(chosen, report.metric(chosen[0]), report.rule)}\n"
        for dataset, chosen in report.by_dataset().items()
    }
    sheet.text("report.md", _page(report, tables))
    for dataset, table in tables.items():
        print(f"{dataset}. {table}")
    for note in report.notes:
        print(note)
    print(f"{sheet.folder / 'report.md'}: {len(sheet.written)} pictures")


def _page(report: Report, tables: dict[str, str]) -> str:
    lines = ["# Report", "", *_preface(report), ""]
    for dataset, table in tables.items():
        lines += [f"## {dataset}", "", table, *report.pictures[dataset]]
    notes = report.notes or ["nothing"]
    lines += ["## Not drawn, left out, to know", "", *(f"- {note}" for note in notes), ""]
    lines += ["## Runs", "", *(f"- {line}" for line in _run_lines(report)), ""]
    return "\n".join(lines)


def _preface(report: Report) -> list[str]:
    chosen = sum(one.chosen for one in report.selected)
    lines = [
        f"Selection rule: **{report.rule.label}**. Means ± standard deviations over seeds. Gap: `test` minus that set. "
        "All numbers, also those of configurations that were not chosen: [summary.csv](summary.csv).",
    ]
    if not report.rule.allowed:
        lines += ["", "The test distribution chose: these numbers are an upper bound and **not allowed for claims**."]
    if not all(choice.is_own for one in report.selected for choice in one.choices):
        lines += ["", "Groups are recorded at a run's own rho only; without a worst group the rule chose another rho."]
    if chosen < len(report.selected):
        lines += ["", f"Of {len(report.selected)} configurations the rule chose {chosen}, one a model and data set."]
    return lines


def _run_lines(report: Report) -> Iterator[str]:
    for one in report.selected:
        for run in one.configuration.runs:
            path = os.path.relpath(run.path, report.sheet.folder).replace(os.sep, "/")
            yield f"{one.configuration.name} on {run.result['dataset']}, seed {run.seed}: [{path}]({path}/config.yaml)"

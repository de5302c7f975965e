"""``recbole-painvrl report RUN_FOLDER...``: tables and pictures from records alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.report.cells import COMPARISON, Failure, find
from recbole_painvrl.report.content import Report
from recbole_painvrl.report.latex import tabular
from recbole_painvrl.report.leaderboard import HEADER
from recbole_painvrl.report.notes import data_notes, double_notes, epoch_notes, protocol_notes, seed_notes, signal_notes
from recbole_painvrl.report.page import page, table
from recbole_painvrl.report.pairs import HEADER as TESTS_HEADER
from recbole_painvrl.report.pictures.risks import read_front
from recbole_painvrl.report.prices import HEADER as PRICES_HEADER
from recbole_painvrl.report.runs import configurations
from recbole_painvrl.report.selection import RULES, Selected, select
from recbole_painvrl.report.sheet import Sheet, in_file_name
from recbole_painvrl.report.style import check_matplotlib, house_style
from recbole_painvrl.report.table import csv_rows, further_sets
from recbole_painvrl.report.web import web_page

OURS = "PaInvRL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to ``parser``."""
    parser.add_argument(
        "folders",
        nargs="+",
        metavar="RUN_FOLDER",
        help=f"runs, folders above them, or with a {COMPARISON}",
    )
    parser.add_argument("--output", default="report", metavar="FOLDER", help="where to write (default: report)")
    parser.add_argument("--rule", default="iid_validation", metavar="NAME", help=f"what chooses: {', '.join(RULES)}")
    parser.add_argument(
        "--metric",
        metavar="NAMES",
        help="what to show, such as recall@20,ndcg@20; pictures show the first (default: all)",
    )
    parser.add_argument("--ours", metavar="MODEL", help=f"the model that is no baseline (default: {OURS})")
    parser.add_argument(
        "--front",
        metavar="FILE.csv",
        help="a sweep over fixed weights, columns erm,irm,weight (default: the runs that differ in it alone)",
    )
    parser.add_argument("--png", action="store_true", help="pictures as PNG too")


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
    found = find(arguments.folders)
    selected = select(configurations(found.runs), RULES[arguments.rule])
    metrics = _known_metrics(arguments.metric, selected) if arguments.metric else []
    ours = OURS if arguments.ours is None else _known_model(arguments.ours, selected, found.failures)
    sheet = Sheet(Path(arguments.output), RULES[arguments.rule], arguments.png)
    report = Report(sheet, selected, metrics, ours, found.failures)
    report.notes += [f"{path}: left out, it is not finished" for path in found.waiting]
    report.notes += [f"{path}: left out, it cannot be looked into ({why})" for path, why in found.closed.items()]
    report.notes += protocol_notes(selected) + double_notes(selected) + data_notes(selected)
    report.notes += signal_notes(selected) + seed_notes(selected) + epoch_notes(selected, report.rule)
    with house_style():
        report.draw(front)
    _write(report)


def _known_metrics(asked: str, selected: Sequence[Selected]) -> list[str]:
    known = dict.fromkeys(
        name for one in selected for choice in one.choices for name in choice.run.result["test_results"].get("test", {})
    )
    metrics = [name.strip() for name in asked.lower().split(",")]
    for metric in metrics:
        if metric not in known:
            raise UserError(f"--metric={metric}: the runs have {', '.join(known)}.{nearest(metric, known)}")
    return list(dict.fromkeys(metrics))


def _known_model(asked: str, selected: Sequence[Selected], failures: Sequence[Failure]) -> str:
    known = sorted({one.configuration.model for one in selected} | {one.model for one in failures})
    if asked not in known:
        raise UserError(f"--ours={asked}: expected a model of the runs, {', '.join(known)}.{nearest(asked, known)}")
    return asked


def _write(report: Report) -> None:
    sheet, boards = report.sheet, [board for boards in report.boards.values() for board in boards]
    sheet.table("summary", *csv_rows(report.selected, report.metric, further_sets(report.selected)))
    sheet.table("leaderboard", HEADER, [row for board in boards for row in board.rows()])
    tests = [one.row(board.dataset, board.metric) for board in boards for one in board.comparisons]
    sheet.table("significance", TESTS_HEADER, tests)
    prices = [found for of_boards in report.prices.values() for found in of_boards]
    offers = zip(boards, prices, strict=True)
    rows = [one.row(board.dataset, board.metric) for board, found in offers for one in found]
    sheet.table("prices", PRICES_HEADER, rows)
    for board in boards:
        stem = sheet.free_name(f"{in_file_name(board.dataset)}_{board.metric}")
        sheet.text(f"{stem}.tex", tabular(board, report.rule))
    sheet.text("report.md", page(report))
    sheet.text("index.html", web_page(report))
    _tell(report)


def _tell(report: Report) -> None:
    for dataset, boards in report.boards.items():
        print(f"{dataset}. Metric: {boards[0].metric}.\n\n{table(boards[0], report.rule)}\n")
    for one in report.lost:
        print(f"{one.model} on {one.dataset}: {one.reason}")
    for note in report.notes:
        print(note)
    print(f"{report.sheet.folder / 'index.html'}: {sum(map(len, report.pictures.values()))} pictures")

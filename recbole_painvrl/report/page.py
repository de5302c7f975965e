"""The report as Markdown: leaderboards, tests, the runs behind them, pictures and notes."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from recbole_painvrl.report.content import ALL, Picture, Report
from recbole_painvrl.report.leaderboard import TIED, TOP, UNTESTED, Entry, Leaderboard, Line
from recbole_painvrl.report.pairs import USERS, Comparison
from recbole_painvrl.report.prices import Price, entry
from recbole_painvrl.report.selection import Rule
from recbole_painvrl.report.table import markdown_table

PRICES = ("test set", "model", "rho", "test", "that set", "as good on test", "best of them", "its", "less it [95 %]")
PRICES_NOTE = (
    "What each rho of one trained model reaches, and what could be had instead: how many other models rank at least "
    "as well on `test`, in the mean over seeds, the one of them that ranks best on the test set, and the difference "
    "to it, paired by seed."
)
SIGNS = {TIED: " †", UNTESTED: " ‡"}
LEGEND = (
    "Best test values are bold; † marks those that do not differ from the best significantly (two-sided paired t-test "
    "over users, over seeds where no users are recorded at that rho, Holm-corrected over the table, level 0.05), ‡ "
    "those that could not be tested."
)


def safe(text: str) -> str:
    """Returns a text from the records so that it stays in its cell and is no HTML."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "/")


def link(path: Path, folder: Path) -> str:
    """Returns the address of ``path`` relative to the report in ``folder``."""
    return quote(os.path.relpath(path, folder).replace(os.sep, "/"))


def preface(report: Report) -> list[str]:
    """Returns what stands above all tables, a paragraph each, in Markdown."""
    chosen = sum(one.chosen for one in report.selected)
    found = [
        f"Selection rule: **{report.rule.label}**. Means ± standard deviations over seeds. Gap: `test` minus that set."
    ]
    if not report.rule.allowed:
        found.append("The test distribution chose: these numbers are an upper bound and **not allowed for claims**.")
    if not all(choice.is_own for one in report.selected for choice in one.choices):
        found.append(
            "Groups and users are recorded at a run's own rho only; without a worst group the rule chose another rho."
        )
    if chosen < len(report.selected):
        found.append(
            f"Of {len(report.selected)} configurations the rule chose {chosen}, one a model and data set; the others "
            "are listed, but neither compared nor best."
        )
    return [*found, LEGEND]


def table(board: Leaderboard, rule: Rule) -> str:
    """Returns a leaderboard as a Markdown table."""
    columns = board.columns
    body = [[safe(line.name), *line.first_cells, *map(value, line.cells.values()), rule.label] for line in board.chosen]
    body += [[f"{safe(line.name)}, not chosen", *_rest(line), rule.label] for line in board.others]
    body += [
        [safe(one.model), "0", "-", f"{safe(one.reason)} (seeds {' '.join(map(str, one.seeds))})"]
        + [""] * (len(columns) - 1)
        + [rule.label]
        for one in board.failures
    ]
    return markdown_table(["model", "runs", "rho", *columns, "rule"], body)


def _rest(line: Line) -> list[str]:
    return [*line.first_cells, *(cell.text for cell in line.cells.values())]


def value(cell: Entry) -> str:
    """Returns a value, bold where it is the best, with a sign where it is as good or untested."""
    return f"**{cell.text}**" if cell.standing == TOP else cell.text + SIGNS.get(cell.standing, "")


def tests_table(board: Leaderboard, ours: str) -> str:
    """Returns the tests of ``ours`` against its references as a Markdown table; empty where there are none."""
    found = [one for one in board.comparisons if one.model.configuration.model == ours]
    header = ["test set", "against", "it is", "over", "n", "difference [95 %]", "d_z", "p t", "Holm", "BH"]
    body = [_test_cells(one) for one in found]
    return markdown_table([*header, "p Wilcoxon", "Holm", "BH"], body) if body else ""


def _test_cells(one: Comparison) -> list[str]:
    reference = safe(one.reference.configuration.name)
    p_values = [number(p) for each in (one.t, one.wilcoxon) for p in (each.p, each.holm, each.bh)]
    first = [one.test_set, reference, ", ".join(one.roles), one.over, str(one.result.n)]
    return [*first, interval(one), "-" if one.result.d_z is None else f"{one.result.d_z:.3f}", *p_values]


def interval(one: Comparison | Price) -> str:
    """Returns difference and confidence interval; ``-`` where there is none."""
    digits = 5 if isinstance(one, Comparison) and one.over == USERS else 4
    if one.result is None:
        return "-"
    return f"{one.result.difference:+.{digits}f} [{one.result.low:+.{digits}f}, {one.result.high:+.{digits}f}]"


def prices_table(found: Sequence[Price], metric: str) -> str:
    """Returns what each rho reaches as a Markdown table; empty where no model has several."""
    rows = [[*map(safe, price_cells(one, metric))] for one in found]
    return markdown_table([*PRICES, "p t", "Holm"], rows) if rows else ""


def price_cells(one: Price, metric: str) -> list[str]:
    """Returns the texts under :data:`PRICES`, p of the t-test and p corrected by Holm."""
    rival = "none" if one.rival is None else one.rival.configuration.name
    own = [one.test_set, one.model.configuration.name, f"{one.rho:g}", entry(one.iid).text, entry(one.ood).text]
    theirs = [str(one.as_good), rival, entry(one.rival_values(metric)).text, interval(one)]
    return [*own, *theirs, number(one.t.p), number(one.t.holm)]


def number(p: float | None) -> str:
    """Returns a p-value as text."""
    return "-" if p is None else f"{p:.2g}"


def page(report: Report) -> str:
    """Returns the whole page."""
    lines = ["# Report", "", *(line for text in preface(report) for line in (text, ""))]
    lines += [
        "All numbers: [summary.csv](summary.csv), [leaderboard.csv](leaderboard.csv) (all metrics), "
        "[significance.csv](significance.csv) (all tests), [prices.csv](prices.csv) (each rho); the same as a page to "
        "sort: [index.html](index.html).",
        "",
    ]
    for dataset, boards in report.boards.items():
        lines += [f"## {safe(dataset)}", "", *_boards(report, dataset), *_runs(report, boards[0])]
        lines += [line for one in report.pictures.get(dataset, []) for line in _picture(one)]
    if report.pictures.get(ALL):
        lines += [f"## {ALL.capitalize()}", "", *(line for one in report.pictures[ALL] for line in _picture(one))]
    lost = [f"{safe(one.model)} on {safe(one.dataset)}: {safe(one.reason)}" for one in report.lost]
    notes = [*lost, *map(safe, report.notes)] or ["nothing"]
    return "\n".join([*lines, "## Not drawn, left out, to know", "", *(f"- {note}" for note in notes), ""])


def _boards(report: Report, dataset: str) -> Iterator[str]:
    for position, (board, found) in enumerate(zip(report.boards[dataset], report.prices[dataset], strict=True)):
        yield from (f"Metric: {safe(board.metric)}.", "", table(board, report.rule), "")
        tests = tests_table(board, report.ours) if position == 0 else ""
        if tests:
            yield from (f"{safe(report.ours)} less its references, paired:", "", tests, "")
        offers = prices_table(found, board.metric) if position == 0 else ""
        if offers:
            yield from (PRICES_NOTE, "", offers, "")


def _runs(report: Report, board: Leaderboard) -> Iterator[str]:
    yield from ("### Runs of these tables", "")
    for line in board.lines:
        runs = [(choice.run.seed, link(choice.run.path, report.sheet.folder)) for choice in line.choices]
        shown = ", ".join(f"seed {seed} [{path}]({path}/config.yaml)" for seed, path in runs)
        differs = line.selected.configuration.differs
        yield f"- {safe(line.selected.configuration.model)}{f' ({safe(differs)})' if differs else ''}: {shown}"
    yield from (f"- {safe(one.model)}: {safe(one.reason)}{_places(report, one.folders)}" for one in board.failures)
    yield ""


def _places(report: Report, folders: Sequence[Path]) -> str:
    paths = [link(path, report.sheet.folder) for path in folders]
    return "".join(f" [{path}]({path}/)" for path in paths)


def _picture(one: Picture) -> list[str]:
    title = safe(one.title)
    numbers = f"{safe(one.note)} Numbers: [{one.stem}.csv]({one.stem}.csv)"
    return [f"### {title}", "", f"![{title}]({one.stem}.svg)", "", numbers, ""]

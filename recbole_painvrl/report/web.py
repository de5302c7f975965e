"""The report as one page for a browser: tables that sort, pictures inside, nothing fetched, nothing trusted.

Every text from the records is escaped, and the page's own policy lets no script run but the one below it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from recbole_painvrl.report.cells import Failure
from recbole_painvrl.report.content import ALL, Picture, Report
from recbole_painvrl.report.leaderboard import NO_ROLE, Entry, Leaderboard, Line
from recbole_painvrl.report.page import (
    LEGEND,
    PRICES,
    PRICES_NOTE,
    SIGNS,
    interval,
    link,
    number,
    preface,
    price_cells,
)
from recbole_painvrl.report.pairs import Comparison
from recbole_painvrl.report.prices import Price, entry
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Choice
from recbole_painvrl.report.web_document import cell, document, table

TESTS = ("test set", "over", "model", "against", "it is", "n", "difference [95 %]", "d_z")
P_VALUES = ("p t", "p t, Holm", "p t, BH", "p Wilcoxon", "p Wilcoxon, Holm", "p Wilcoxon, BH")
TEXTS = TESTS[:5]
TITLE = "Report"


def web_page(report: Report) -> str:
    """Returns the page; the pictures have to be written before."""
    folder = report.sheet.folder
    body = [f"<h1>{TITLE}</h1>", *_preface(report), _contents(report)]
    for number_, (dataset, boards) in enumerate(report.boards.items()):
        body += [f'<section id="d{number_}"><h2>{escape(dataset)}</h2>']
        body += [part for board in boards for part in _board(board, report)]
        body += _tests(boards[0])
        body += _prices(boards[0], report.prices[dataset][0])
        body += [_picture(one, folder) for one in report.pictures.get(dataset, [])]
        body.append("</section>")
    if report.pictures.get(ALL):
        body += [f"<section><h2>{ALL.capitalize()}</h2>", *(_picture(one, folder) for one in report.pictures[ALL])]
        body.append("</section>")
    body += ["<h2>Not drawn, left out, to know</h2>", "<ul>", *_notes(report), "</ul>"]
    return document(body, TITLE)


def _preface(report: Report) -> Iterator[str]:
    for text in preface(report):
        if text != LEGEND:
            plain = escape(text.replace("**", "").replace("`", ""))
            yield f"<p>{plain}</p>" if report.rule.allowed else f'<p class="warning">{plain}</p>'
    yield f"<p>{escape(LEGEND)} Open a value for its seeds, run folders and configurations; a heading sorts.</p>"
    files = ("report.md", "summary.csv", "leaderboard.csv", "significance.csv", "prices.csv")
    links = ", ".join(f'<a href="{name}">{name}</a>' for name in files)
    yield f"<p>Files: {links}</p>"


def _contents(report: Report) -> str:
    links = [f'<a href="#d{place}">{escape(dataset)}</a>' for place, dataset in enumerate(report.boards)]
    return f"<nav>Data sets: {' · '.join(links)}</nav>"


def _board(board: Leaderboard, report: Report) -> Iterator[str]:
    columns = ["model", "runs", "rho", *board.columns]
    yield f"<h3>{escape(board.metric)}</h3>"
    if not report.rule.allowed:
        yield f'<p class="warning">{escape(report.rule.label)}</p>'
    rows = [_row(line, report.sheet.folder) for line in board.lines]
    rows += [_failed(one, len(columns), report.sheet.folder) for one in board.failures]
    yield table(columns, rows, f"Leaderboard of {board.dataset} by {board.metric}")


def _tests(board: Leaderboard) -> list[str]:
    if not board.comparisons:
        return []
    rows = [_test(one) for one in board.comparisons]
    caption = f"Paired tests on {board.dataset}, {board.metric}"
    return [f"<h3>{escape(caption)}</h3>", table([*TESTS, *P_VALUES], rows, caption, TEXTS)]


def _prices(board: Leaderboard, found: Sequence[Price]) -> list[str]:
    if not found:
        return []
    caption = f"What each rho reaches on {board.dataset}, {board.metric}"
    columns, rows = [*PRICES, "p t", "p t, Holm"], [_price(one, board.metric) for one in found]
    note = escape(PRICES_NOTE.replace("`", ""))
    return [f"<h3>{escape(caption)}</h3>", f"<p>{note}</p>", table(columns, rows, caption, ("model", "best of them"))]


def _row(line: Line, folder: Path) -> str:
    runs, rho = line.first_cells
    rest = "" if line.selected.chosen else ", not chosen"
    opened = _opened(line.name + rest, [(choice.run, "") for choice in line.choices], folder)
    first = cell("", line.name, f'<div title="{escape(line.selected.configuration.differs)}">{opened}</div>')
    counts = [_linked(text, text, line.choices, folder) for text in (runs, rho)]
    cells = [_value(entry, line.choices, folder) for entry in line.cells.values()]
    style = "" if line.selected.chosen else ' class="rest"'
    return f"<tr{style}>{first}{''.join([*counts, *cells])}</tr>"


def _linked(text: str, value: str, choices: Sequence[Choice], folder: Path) -> str:
    return cell("", value, _opened(text, [(choice.run, "") for choice in choices], folder))


def _value(entry: Entry, choices: Sequence[Choice], folder: Path) -> str:
    values = entry.values or [None] * len(choices)
    seeds = [
        (choice.run, "-" if value is None else format(value, f",.{entry.digits}f"))
        for choice, value in zip(choices, values, strict=True)
    ]
    shown = _opened(entry.text + SIGNS.get(entry.standing, ""), seeds, folder)
    return cell("", entry.mean, shown, entry.standing if entry.standing != NO_ROLE else "")


def _opened(text: str, seeds: Sequence[tuple[Run, str]], folder: Path) -> str:
    """Returns a text that opens to the runs behind it."""
    items = "".join(f"<li>{_run(run, value, folder)}</li>" for run, value in seeds)
    return f"<details><summary>{escape(text)}</summary><ul>{items}</ul></details>"


def _run(run: Run, value: str, folder: Path) -> str:
    path = escape(link(run.path, folder))
    shown = f" {escape(value)}" if value else ""
    return f'seed {run.seed}{shown}: <a href="{path}/">run</a> <a href="{path}/config.yaml">config</a>'


def _failed(one: Failure, width: int, folder: Path) -> str:
    places = " ".join(f'<a href="{escape(link(path, folder))}/">run folder</a>' for path in one.folders)
    seeds = " ".join(map(str, one.seeds))
    text = f"{escape(one.reason)} (seeds {seeds}) {places}"
    return f'<tr class="failed">{cell(one.model, one.model)}<td colspan="{width - 1}">{text}</td></tr>'


def _test(one: Comparison) -> str:
    names = (one.model.configuration.name, one.reference.configuration.name)
    texts = (one.test_set, one.over, *names, ", ".join(one.roles))
    cells = [cell(text, text, style="text") for text in texts]
    cells += [cell(str(one.result.n), one.result.n), cell(interval(one), one.result.difference)]
    effect = one.result.d_z
    cells.append(cell("-" if effect is None else f"{effect:.3f}", effect))
    cells += [cell(number(p), p) for each in (one.t, one.wilcoxon) for p in (each.p, each.holm, each.bh)]
    return f"<tr>{''.join(cells)}</tr>"


def _price(one: Price, metric: str) -> str:
    rival = "" if one.rival is None else one.rival.configuration.name
    means = [entry(values).mean for values in (one.iid, one.ood, one.rival_values(metric))]
    difference = None if one.result is None else one.result.difference
    own = [one.test_set, one.model.configuration.name, one.rho, *means[:2]]
    keys = [*own, one.as_good, rival, means[2], difference, one.t.p, one.t.holm]
    found = zip(price_cells(one, metric), keys, strict=True)
    return f"<tr>{''.join(cell(text, key, style='text' if isinstance(key, str) else '') for text, key in found)}</tr>"


def _picture(one: Picture, folder: Path) -> str:
    data = base64.b64encode((folder / f"{one.stem}.svg").read_bytes()).decode()
    title, note = escape(one.title), escape(one.note.replace("`", ""))
    return (
        f'<figure><img alt="{title}" src="data:image/svg+xml;base64,{data}">'
        f'<figcaption><b>{title}</b>. {note} Numbers: <a href="{one.stem}.csv">{one.stem}.csv</a></figcaption></figure>'
    )


def _notes(report: Report) -> Iterator[str]:
    for one in report.lost:
        yield f'<li class="warning">{escape(f"{one.model} on {one.dataset}: {one.reason}")}</li>'
    for note in report.notes or ["nothing"]:
        yield f"<li>{escape(note)}</li>"

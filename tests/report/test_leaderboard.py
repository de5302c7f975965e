"""Leaderboards, comparisons and the pages they are shown on: known numbers, nothing dropped, nothing trusted."""

from __future__ import annotations

import csv
import errno
import os
import re
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.cells import find
from recbole_painvrl.report.command import add_arguments, run
from recbole_painvrl.report.latex import escape
from recbole_painvrl.report.leaderboard import SMALLER_IS_BETTER, TIED, TOP, UNTESTED, Leaderboard, leaderboard
from recbole_painvrl.report.pictures.differences import paired_differences
from recbole_painvrl.report.pictures.ranks import joined, nemenyi
from recbole_painvrl.report.runs import configurations
from recbole_painvrl.report.selection import RULES, select
from tests.report.browser import PROGRAM, browser
from tests.report.made_runs import METRIC, make_comparison, make_run, make_users, of

EVIL = "Evil<script>document.title='gone'|&_$x$"
NOISE = np.random.Generator(np.random.PCG64(5)).normal(0, 0.01, (10, 60))


def add(
    root: Path, model: str, level: float, seeds: Sequence[int] = (1, 2), dataset: str = "made", **keys: object
) -> None:
    """Runs of a model at ``level``, with 60 users that vary a little."""
    for seed in seeds:
        users = level + NOISE[seed] + NOISE[len(model) % 5]
        result = {"test_results": {"test": of(float(users.mean()))}, "groups": {}, "seconds_train": 2.0 * seed}
        make_users(make_run(root, model, seed, rounds=0, result=result, **keys), users)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of five seeds: PaInvRL, one like it, ERM, one with an evil name, and cells without a result."""
    root = tmp_path_factory.mktemp("compared")
    for model, level in (("PaInvRL", 0.5), ("Close", 0.4995), ("ERM", 0.45), (EVIL, 0.3)):
        add(root, model, level, seeds=(1, 2, 3, 4, 5))
    add(root, "ERM", 0.6, config={"learning_rate": 9}, valid=0.1)
    done = [path.parent for path in sorted(root.glob("made/*/*/done"))]
    cells = [cell_of(root, path, "done") for path in done]
    cells += [
        {**cell_of(root, root / "made" / "GRCN" / f"{seed}-x", "failed"), "error": "no <b>room\nleft"}
        for seed in (1, 2)
    ]
    cells.append(cell_of(root, root / "lost" / "BM3" / "1-x", "interrupted"))
    return make_comparison(root / "comparisons" / "0a", cells)


def cell_of(root: Path, path: Path, state: str) -> dict[str, Any]:
    folder = str(path.relative_to(root))
    model, dataset, seed = path.parent.name, path.parent.parent.name, int(path.name.partition("-")[0])
    return {"model": model, "dataset": dataset, "seed": seed, "folder": folder, "state": state, "error": None}


@pytest.fixture(scope="module")
def written(compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("written")
    make_report(compared, "--output", output, "--metric", f"{METRIC},recall@10")
    return output


def make_report(*arguments: object) -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args(list(map(str, arguments))))


def board_of(folder: Path, metric: str = METRIC, ours: str = "PaInvRL") -> Leaderboard:
    found = find([folder])
    selected = select(configurations(found.runs), RULES["iid_validation"])
    return leaderboard(selected, metric, found.failures, ours)


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as text:
        return list(csv.DictReader(text))


def test_the_best_is_bold_and_what_is_as_good_is_marked(compared: Path) -> None:
    board = board_of(compared)
    assert [line.name for line in board.chosen] == ["PaInvRL", "Close", "ERM (learning_rate=~)", EVIL]
    assert [line.cells["test"].standing for line in board.chosen] == [TOP, TIED, "", ""]
    assert [line.name for line in board.others] == ["ERM (learning_rate=9)"]
    assert board.others[0].cells["test"].standing == ""  # larger than the best, but validation did not choose it
    assert board.chosen[0].cells["seconds"].text == "6.0 ± 3.2"


def test_smaller_is_better_where_recbole_says_so() -> None:
    register = pytest.importorskip("recbole.evaluator.register")
    assert sorted(SMALLER_IS_BETTER) == sorted(register.smaller_metrics)


def test_the_least_concentrated_lists_are_the_best(tmp_path: Path) -> None:
    for model, value in (("PaInvRL", 0.3), ("ERM", 0.5), ("MF", 0.4)):
        for seed in (1, 2):
            result = {"test_results": {"test": {**of(0.1), "giniindex@10": value + 0.01 * seed}}, "groups": {}}
            make_run(tmp_path, model, seed, rounds=0, result=result)
    board = board_of(tmp_path, "giniindex@10")
    assert [line.name for line in board.lines] == ["PaInvRL", "MF", "ERM"]
    assert board.lines[0].cells["test"].standing == TOP
    assert {one.reference.configuration.model for one in board.comparisons if "best baseline" in one.roles} == {"MF"}


def test_what_cannot_be_tested_is_said(tmp_path: Path) -> None:
    make_run(tmp_path, "PaInvRL", 1, rounds=0)
    make_run(tmp_path, "ERM", 1, rounds=0, result={"test_results": {"test": of(0.1)}})
    board = board_of(tmp_path)
    assert [line.cells["test"].standing for line in board.lines] == [TOP, UNTESTED]
    assert board.lines[1].cells["test_ood"].text == "-"
    assert board.comparisons == ()


def test_every_model_meets_the_best_the_best_baseline_and_erm(compared: Path) -> None:
    board = board_of(compared)
    over_users = [one for one in board.comparisons if one.over == "users"]
    met = {(one.model.configuration.model, one.reference.configuration.model): one for one in over_users}
    models = {"PaInvRL", "Close", "ERM", EVIL}
    assert set(met) == {(one, other) for one in models for other in {"PaInvRL", "Close", "ERM"} if one != other}
    ours, back = met["PaInvRL", "Close"], met["Close", "PaInvRL"]
    assert (ours.roles, back.roles) == (("best baseline",), ("best",))
    assert ours.result.difference == pytest.approx(-back.result.difference)
    assert ours.t.p == pytest.approx(back.t.p)
    assert (ours.t.family, ours.t.holm) == (6, pytest.approx(ours.t.p))  # 6 pairs, not 9; the largest p is not scaled
    assert met[EVIL, "ERM"].result.difference == pytest.approx(-0.15, abs=0.02)
    by_seed = next(one for one in board.comparisons if one.over == "seeds" and one.model.configuration.model == "ERM")
    assert by_seed.result.n == 5


def test_significance_is_a_table_of_all_tests(written: Path) -> None:
    rows = rows_of(written / "significance.csv")
    assert {row["metric"] for row in rows} == {METRIC, "recall@10"}
    one = next(row for row in rows if (row["model"], row["reference"]) == (EVIL, "PaInvRL"))
    difference = float(one["difference"])
    assert float(one["ci95_low"]) < difference < float(one["ci95_high"]) < 0
    assert float(one["mean_model"]) - float(one["mean_reference"]) == pytest.approx(difference, abs=1e-6)
    assert float(one["p_t"]) <= float(one["p_t_bh"]) <= float(one["p_t_holm"]) < 0.05
    assert one["reference_is"] == "best"


def test_a_folder_that_cannot_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_run(tmp_path / "runs", "ERM", 1, rounds=0)
    (tmp_path / "runs" / "closed").mkdir()
    look = os.scandir

    def denied(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", denied)
    make_report(tmp_path / "runs", "--output", tmp_path / "out")
    line = f"{tmp_path / 'runs' / 'closed'}: left out, it cannot be looked into (Permission denied)"
    assert line in capsys.readouterr().out.splitlines()
    assert "it cannot be looked into" in (tmp_path / "out" / "report.md").read_text()


def test_failed_cells_are_in_every_table(written: Path) -> None:
    page = (written / "report.md").read_text()
    assert "| GRCN | 0 | - | failed: no &lt;b&gt;room left (seeds 1 2) |" in page
    assert "BM3 on lost: not finished: interrupted" in page
    states = {row["model"]: row["state"] for row in rows_of(written / "leaderboard.csv")}
    assert states["GRCN"] == "failed: no <b>room left"
    assert r"GRCN & 0 & \multicolumn" in (written / "made_ndcg-10.tex").read_text()
    assert "failed: no &lt;b&gt;room left (seeds 1 2)" in (written / "index.html").read_text()


def test_latex_is_balanced_and_escaped(written: Path) -> None:
    text = (written / "made_ndcg-10.tex").read_text()
    body = [line for line in text.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {text.splitlines()[2].count("r") - 1}
    assert r"Evil\textless{}script\textgreater{}document.title='gone'\textbar{}\&\_\$x\$" in text
    assert text.count("{") == text.count("}")
    assert text.count("\\toprule") == text.count("\\bottomrule") == 1
    assert escape("50%_#~^{}\\") == r"50\%\_\#\textasciitilde{}\textasciicircum{}\{\}\textbackslash{}"


class Page(HTMLParser):
    """Tags with their attributes, and the rows of tables with their texts and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.rows: list[list[list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append([])
        if tag == "a" and self.rows and self.rows[-1]:
            self.rows[-1][-1].append(dict(attrs)["href"] or "")


def test_every_cell_links_to_its_runs_and_configurations(written: Path, compared: Path) -> None:
    page = Page((written / "index.html").read_text())
    ours = page.rows[1]  # the row under the first heading
    runs = {path.parent.resolve() for path in compared.parents[1].glob("made/PaInvRL/*/done")}
    for cell in ours:
        found = {(written / unquote(link)).resolve() for link in cell}
        assert found == runs | {run / "config.yaml" for run in runs}
    linked = re.findall(r"\]\(([^)]+)/config\.yaml\)", (written / "report.md").read_text())
    assert runs < {(written / unquote(link)).resolve() for link in linked}


def test_the_page_stands_alone_and_trusts_nothing(written: Path) -> None:
    text = (written / "index.html").read_text()
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<b>room" not in text
    assert not any("src" in attrs and not str(attrs["src"]).startswith("data:") for _, attrs in page.tags)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "content" in attrs)
    assert policy is not None and policy.startswith("default-src 'none'")
    assert {attrs.get("aria-sort") for tag, attrs in page.tags if tag == "th"} == {"none"}


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
def test_headings_sort_in_a_browser(written: Path, tmp_path: Path) -> None:
    names = "[...document.querySelector('tbody').rows].map(row => row.cells[0].dataset.value).join(' > ')"
    click = "document.querySelectorAll('thead button')[{}].{}"
    with browser(tmp_path / "profile") as driven:
        driven.open(written / "index.html")
        assert driven.value("document.title") == "Report"
        first = driven.value(names)
        driven.value(click.format(0, "click()"))
        by_name = driven.value(names).split(" > ")
        assert [name.partition(" ")[0] for name in by_name] == ["Close", "ERM", "ERM", EVIL, "PaInvRL", "GRCN"]
        driven.value(click.format(4, "focus()"))  # test, the largest first
        driven.press("Enter")
        assert driven.value(names).startswith("ERM (learning_rate=9) > PaInvRL > Close")
        assert driven.value("document.querySelectorAll('th')[4].getAttribute('aria-sort')") == "descending"
        driven.press("Enter")
        assert driven.value(names).split(" > ")[0] == EVIL
        assert first.split(" > ")[0] == "PaInvRL"
        problems = [one for one in driven.events if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        fetched = [one for one in driven.events if one["method"] == "Network.requestWillBeSent"]
        assert problems == []
        assert all(one["params"]["request"]["url"].startswith(("file:", "data:")) for one in fetched)


def test_ranks_are_drawn_from_five_blocks_and_three_models(written: Path) -> None:
    rows = rows_of(written / "all_data_sets_ranks.csv")
    assert [row["model"] for row in rows][-2:] == ["ERM", EVIL]
    assert {row["blocks"] for row in rows} == {"5"}
    assert sum(float(row["mean_rank"]) for row in rows) == pytest.approx(1 + 2 + 3 + 4)


def test_the_critical_difference_is_that_of_its_paper() -> None:
    assert nemenyi(4, 14) == pytest.approx(1.25, abs=0.01)  # Demsar (2006), section 3.2.4
    assert joined([1.0, 1.5, 2.6, 2.9], 1.2) == [(0, 1), (1, 2), (2, 3)]
    assert joined([1.0, 3.0], 1.2) == []


def test_differences_have_their_intervals(written: Path) -> None:
    rows = {row["model"]: row for row in rows_of(written / "made_differences.csv")}
    assert {row["reference"] for row in rows.values()} == {"Close"}  # the best baseline
    assert float(rows["PaInvRL"]["ci95_low"]) < 0.0005 < float(rows["PaInvRL"]["ci95_high"])
    assert float(rows[EVIL]["p_t_holm"]) < 0.05


def test_each_test_set_has_its_own_best_baseline(tmp_path: Path) -> None:
    for model, iid, ood in (("PaInvRL", 0.5, 0.4), ("Near", 0.45, 0.1), ("Far", 0.3, 0.35)):
        for seed in (1, 2, 3):
            tests = {"test": of(iid + seed / 100), "test_ood": of(ood + seed**2 / 100)}
            make_run(tmp_path, model, seed, rounds=0, result={"test_results": tests, "groups": {}})
    drawing = paired_differences(board_of(tmp_path))
    found = [(row[2], row[0], row[1]) for row in drawing.rows]
    assert found == [
        ("test", "Far", "Near"),
        ("test", "PaInvRL", "Near"),
        ("test_ood", "Near", "Far"),
        ("test_ood", "PaInvRL", "Far"),
    ]
    assert [axes.get_title() for axes in drawing.figure.axes] == ["test\nless Near", "test_ood\nless Far"]
    assert [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()] == [
        f"{name} (seeds)" for name in ("PaInvRL", "Near", "Far")
    ]


def test_a_comparison_without_any_result_is_one_line(tmp_path: Path) -> None:
    cell = {**cell_of(tmp_path, tmp_path / "made" / "GRCN" / "1-x", "failed"), "error": "boom"}
    with pytest.raises(UserError, match="GRCN on made: failed: boom"):
        find([make_comparison(tmp_path / "comparisons" / "0a", [cell])])
    (tmp_path / "comparisons" / "0a" / "comparison.json").write_text("[]")
    with pytest.raises(UserError, match=r"comparison\.json: cannot be read"):
        find([tmp_path / "comparisons" / "0a"])
    for wrong in ({"seed": "x"}, {"folder": 3}):
        with pytest.raises(UserError, match=r"comparison\.json: expected `cells`"):
            find([make_comparison(tmp_path / "comparisons" / "0a", [{**cell, **wrong}])])


def test_folders_may_be_named_from_beside_the_comparison_or_absolutely(tmp_path: Path) -> None:
    near, far = make_run(tmp_path / "c", seed=1, rounds=0), make_run(tmp_path / "far", seed=2, rounds=0)
    cells = [cell_of(tmp_path / "c", near, "done"), {**cell_of(tmp_path / "far", far, "running"), "folder": str(far)}]
    found = find([make_comparison(tmp_path / "c", cells)])
    assert [one.seed for one in found.runs] == [1, 2]  # a run that is done counts, whatever the file says of it
    assert found.failures == []

"""The page of a search: where lines stand, what they say, nothing trusted, nothing fetched."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import cli
from recbole_painvrl.tuning.page import FILE, HEIGHT, TOP, axis_of, picture, search_page, write_page
from recbole_painvrl.tuning.record import Record, Trial
from recbole_painvrl.tuning.space import Choice, Stepped, Uniform, Whole
from tests.comparison.conftest import Flags
from tests.tuning.test_search import the_search

SPACE = (
    Uniform("rate", math.log(0.001), math.log(0.1), log=True),
    Choice("loss", ("bpr", None, 3)),
    Whole("layers", 1, 3),
)
HOSTILE = "<script>alert('x')</script>"


def trial(number: int, rate: float, loss: Any, layers: int, score: float | None, **more: Any) -> Trial:
    parameters = {"rate": rate, "loss": loss, "layers": layers}
    state = more.pop("state", "failed" if score is None else "done")
    return Trial(number, parameters, state, score, folder=f"trials/{number}", **more)


TRIALS = [
    trial(0, 0.001, "bpr", 1, 0.1),
    trial(1, 0.01, None, 3, 0.3),
    trial(2, 0.1, 3, 2, 0.2, state="stopped"),
    trial(3, 0.1, "bpr", 2, None, error=HOSTILE),
]


def lines(bigger: bool = True, trials: list[Trial] = TRIALS) -> dict[int, dict[str, Any]]:
    """What is drawn of each trial, by its number: heights from 0 to 1, class, colour."""
    root = ElementTree.fromstring(picture(trials, SPACE, bigger, "ndcg@10"))
    found = {}
    for line in root.iter("polyline"):
        number = int(re.match(r"trial (\d+):", line[0].text)[1])
        points = [point.split(",") for point in line.get("points").split()]
        heights = [round(1 - (float(y) - TOP) / HEIGHT, 2) for _, y in points]
        assert len({x for x, _ in points}) == len(points)
        found[number] = {"heights": heights, "class": line.get("class"), "stroke": line.get("stroke")}
    return found


def test_lines_stand_where_their_values_are() -> None:
    found = lines()
    assert found[0]["heights"] == [0.0, 0.0, 0.0, 0.0]
    assert found[1]["heights"] == [0.5, 0.5, 1.0, 1.0]
    assert found[2]["heights"] == [1.0, 1.0, 0.5, 0.5]
    assert found[3]["heights"] == [1.0, 0.0, 0.5]  # without a score
    assert [found[number]["class"] for number in range(4)] == ["done", "done best", "stopped", "failed"]
    assert list(found)[-1] == 1  # the best lies on top


@pytest.mark.parametrize(("bigger", "best", "worst"), [(True, 1, 0), (False, 0, 1)])
def test_the_best_is_dark_and_thick_whether_large_or_small(bigger: bool, best: int, worst: int) -> None:
    found = lines(bigger)
    assert found[best] == {**found[best], "class": "done best", "stroke": "rgb(0,32,76)"}
    assert found[worst] == {**found[worst], "class": "done", "stroke": "rgb(236,215,80)"}
    assert found[3]["stroke"] is None


def test_a_larger_score_is_dark_even_where_the_best_is_less() -> None:
    """Trials that were stopped rank after those that are done, whatever their scores."""
    found = lines(trials=[trial(0, 0.001, "bpr", 1, 0.1), trial(1, 0.01, None, 3, 0.3, state="stopped")])
    assert (found[0]["class"], found[0]["stroke"]) == ("done best", "rgb(236,215,80)")
    assert (found[1]["class"], found[1]["stroke"]) == ("stopped", "rgb(0,32,76)")


def test_axes_of_single_values_and_steps() -> None:
    assert axis_of(Whole("a", 2, 2)).place(2) == 0.5
    assert axis_of(Choice("a", ("x",))).place("x") == 0
    stepped = axis_of(Stepped("a", 10, 50, 10))
    assert [stepped.place(value) for value in (10, 20, 50)] == [0, 0.25, 1]
    assert [text for _, text in axis_of(SPACE[0]).ticks] == ["0.001", "0.01", "0.1"]
    assert [text for _, text in axis_of(SPACE[1]).ticks] == ["bpr", "~", "3"]


@pytest.mark.parametrize("trials", [[], TRIALS[3:], TRIALS[:1]], ids=["none", "one failed", "one"])
def test_searches_that_have_hardly_begun(trials: list[Trial], tmp_path: Path) -> None:
    record = Record(tmp_path, {"model": "BPR", "dataset": "board"}, "", trials)
    write_page(record, SPACE, True, "ndcg@10")
    page = (tmp_path / FILE).read_text()
    assert f"{len(trials)} trials" in page and page.count("<polyline") == len(trials)


def test_texts_of_records_are_texts_and_nothing_is_fetched(tmp_path: Path) -> None:
    record = Record(tmp_path, {"model": HOSTILE, "dataset": "board"}, "", TRIALS, {"number": 1, "folder": HOSTILE})
    page = search_page(record, SPACE, True, "ndcg@10")
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") >= 4
    assert not re.search(r'(src|href)="(https?:)?//', page) and "default-src 'none'" in page


def test_a_search_leaves_its_page(flags: Flags) -> None:
    Path("space.hyper").write_text("learning_rate choice [0.001, 0]\n")
    words = ["-m", "BPR", "-d", "board", *flags(), "--params_file=space.hyper", "--algo=exhaustive", "--parallel=1"]
    assert cli.main(words) == 0
    page = (the_search().path / FILE).read_text()
    assert page.count("<polyline") == 2 and "Winner: trial 0, run runs/board/BPR/" in page

"""The grammar of search spaces: a space that can be drawn from, or a line that names the file's line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from recbole_painvrl.tuning.grammar import read_space
from tests.fuzz.damage import CELLS, damaged, rarely
from tests.fuzz.target import Target

NAMES = ("learning_rate", "n_layers", "reg_weight", "x", "id_dropout", "é")
KINDS = ("choice", "uniform", "quniform", "loguniform", "intrange")
ODD_KINDS = ("", "Choice", "normal", "choice:", "1")
NUMBERS = (
    "0",
    "1",
    "-1",
    "0.5",
    "-8",
    "3",
    "1e-3",
    "1e308",
    "-1e308",
    "1e-320",
    "inf",
    "nan",
    "1_0",
    "9" * 5000,
    "0x3",
    "",
)
VALUES = (
    "[1, 2, 3]",
    "['a', 'b']",
    "[a, b]",
    "[1, 1.0, True]",
    "(1, 2)",
    "[None]",
    "[[1], [2]]",
    "[]",
    "{}",
    "[1",
    "1",
    "[1, 1]",
    "{'a': 1}",
    "[{'a': [1]}, ~]",
    "[.nan, .nan]",
    "[.inf]",
    "[1e-4]",
    "['[1,2]']",
    "[[" * 2000,
    "[" * 90 + "]" * 90,
    "[!!python/object/apply:os.system ['x']]",
    "[__import__('os')]",
    "[&a [*a]]",
    "[&a 1, *a]",
    "[2001-99-99]",
    "[0b_]",
    "[!!bool x]",
    "[!!int x]",
    "[!!timestamp x]",
    "[2001-01-01]",
    "[? x]",
    "[!!binary x]",
    "[!!set {a}]",
    "[? [a]: 1]",
    "[1j]",
    "[b'x']",
    "{1, 2}",
    "[lambda: 1]",
    "['\\ud800']",
    "[9" + "9" * 5000 + "]",
    "['" + "a" * 9000 + "']",
    "range(3)",
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Returns a line of a space, sound or not."""
    name, kind = draw(rarely(st.sampled_from(NAMES), st.sampled_from(CELLS))), draw(st.sampled_from(KINDS))
    kind = draw(rarely(st.just(kind), st.sampled_from(ODD_KINDS)))
    numbers = ",".join(draw(st.lists(st.sampled_from(NUMBERS), min_size=2, max_size=3)))
    sound = {"choice": "[1, 2]", "uniform": "0,1", "quniform": "0,1,0.1", "loguniform": "-8,-1", "intrange": "1,3"}
    values = draw(st.sampled_from((sound.get(kind, "1"), sound.get(kind, "1"), numbers, draw(st.sampled_from(VALUES)))))
    values = draw(rarely(st.just(values), st.text(max_size=8)))
    return f"{name} {kind} {values}" + draw(st.sampled_from(("", "", "  # a comment", "#")))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Returns the bytes of a file of lines."""
    text = "\n".join(draw(st.lists(lines(), max_size=3))).encode("utf-8", "replace")
    return draw(rarely(st.just(text), damaged(text), 4))


def check(data: bytes, folder: Path) -> None:
    """Reads a space, and draws from it what must be plain values within the bounds."""
    (folder / "space.test").write_bytes(data)
    space, _ = read_space(folder / "space.test")
    assert space and len({parameter.name for parameter in space}) == len(space)
    for parameter in space:
        random = torch.Generator().manual_seed(0)
        drawn = [parameter.draw(random) for _ in range(5)]
        grid = parameter.grid()
        assert parameter.shown()
        assert grid is None or (grid and all(_is_plain(value) for value in grid))
        assert all(_is_plain(value) for value in drawn)
        assert grid is None or all(any(value is one or value == one for one in grid) for value in drawn)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


TARGETS = [Target("search spaces", files(), check, 40, 1_500, (r"space\.test",))]

"""Proposals: inside the space, all of the grid, the same for the same seed and finished trials."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import generator
from recbole_painvrl.tuning.grammar import parse_space
from recbole_painvrl.tuning.proposals import Exhaustive, Finished, Random, make_proposer, next_proposal
from recbole_painvrl.tuning.space import Choice, Parameter, Stepped, Uniform, Whole

TEXT = "a uniform -1,2\nb loguniform -5,1\nc quniform 1,3,0.5\nd intrange 2,5\ne choice [x, ~, [1, 2]]"
SPACE = parse_space(TEXT, "x")


def made(seed: int) -> Parameter:
    """A parameter with bounds drawn by ``seed``."""
    random = np.random.default_rng(seed)
    low = float(random.normal(0, 3))
    high = low + float(random.exponential(3)) + 1e-6
    step = float(random.uniform(0.01, 1)) * (high - low)
    kinds = [Uniform("p", low, high), Uniform("p", low, high, log=True), Whole("p", round(low), round(high) + 1)]
    stepped = Stepped("p", low, high, step)
    kinds += [stepped] if stepped.grid() else []
    return [*kinds, Choice("p", tuple(range(int(random.integers(1, 9)))))][seed % (len(kinds) + 1)]


@pytest.mark.parametrize("seed", range(60))
def test_what_is_drawn_lies_in_the_space(seed: int) -> None:
    parameter = made(seed)
    values = [parameter.draw(generator(seed, str(number))) for number in range(40)]
    grid = parameter.grid()
    if grid is not None:
        assert all(value in grid for value in values)
        assert grid == list(dict.fromkeys(grid))
    else:
        assert all(parameter.value(parameter.low) <= value <= parameter.value(parameter.high) for value in values)
    assert values == [parameter.draw(generator(seed, str(number))) for number in range(40)]


def test_all_values_are_drawn_and_steps_are_meant_as_written() -> None:
    (whole, stepped, even) = parse_space("a intrange 1,3\nb quniform 0,0.5,0.1\nc quniform 1,9,4", "x")
    assert {whole.draw(generator(0, str(number))) for number in range(50)} == {1, 2, 3}
    assert stepped.grid() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert even.grid() == [4, 8]  # multiples of the step, as Hyperopt has them, but never outside
    assert all(isinstance(value, int) for value in even.grid())


def test_exhaustive_is_the_grid() -> None:
    space = parse_space("a choice [1, x]\nb intrange 0,2\nc quniform 0,1,0.5", "x")
    proposer = Exhaustive(space)
    assert proposer.most == 18
    found: list[dict[str, Any]] = []
    while (proposal := next_proposal(proposer, len(found), found, ())) is not None:
        found.append(proposal)
    expected = [dict(zip("abc", point, strict=True)) for point in product([1, "x"], [0, 1, 2], [0.0, 0.5, 1.0])]
    assert found == expected


def test_exhaustive_needs_an_end() -> None:
    with pytest.raises(UserError, match="--algo=exhaustive tries all values, and a, b has no end"):
        Exhaustive(SPACE)


def test_random_depends_on_seed_and_number_alone() -> None:
    proposals = [Random(SPACE, 1).propose(number, 0, ()) for number in range(5)]
    backwards = [Random(SPACE, 1).propose(number, 0, [({}, 1.0)]) for number in reversed(range(5))]
    assert proposals == backwards[::-1]
    assert proposals != [Random(SPACE, 2).propose(number, 0, ()) for number in range(5)]
    assert len({proposal["a"] for proposal in proposals}) == 5


def test_nothing_is_tried_twice() -> None:
    space = parse_space("a choice [1, 2]\nb choice [3, 4]", "x")
    tried: list[dict[str, Any]] = []
    for _ in range(4):
        tried.append(next_proposal(Random(space, 0), len(tried), tried, ()) or {})
    assert {(one["a"], one["b"]) for one in tried} == {(1, 3), (1, 4), (2, 3), (2, 4)}
    assert next_proposal(Random(space, 0), 4, tried, ()) is None


def finished(count: int) -> list[Finished]:
    """Trials whose loss is least at a = 1, d = 4 and e = x; every fifth failed."""
    proposals = [Random(SPACE, 7).propose(number, 0, ()) for number in range(count)]
    return [(one, None if number % 5 == 4 else loss(one)) for number, one in enumerate(proposals)]


def loss(one: dict[str, Any]) -> float:
    return (one["a"] - 1) ** 2 + (one["d"] - 4) ** 2 + (one["e"] != "x") + abs(math.log(one["b"]) + 2)


def test_tpe_repeats_itself_and_learns() -> None:
    pytest.importorskip("hyperopt")
    past = finished(60)
    numbers = range(20, 40)
    proposals = [make_proposer("tpe", SPACE, 1).propose(number, 0, past) for number in numbers]
    again = [make_proposer("tpe", SPACE, 1).propose(number, 0, past) for number in numbers]
    assert proposals == again
    assert proposals != [make_proposer("tpe", SPACE, 1).propose(number, 0, past[:50]) for number in numbers]
    assert mean(proposals) < 0.7 * mean([one for one, _ in past])
    for one in proposals:
        assert isinstance(one["d"], int)
        assert one["e"] in ("x", None, [1, 2])
        assert one["c"] in (1.0, 1.5, 2.0, 2.5, 3.0)


@pytest.mark.parametrize("past", [[], finished(20), [(one, None) for one, _ in finished(20)]])
def test_tpe_begins_with_the_trials_of_random(past: list[Finished]) -> None:
    pytest.importorskip("hyperopt")
    tpe, random = make_proposer("tpe", SPACE, 1), make_proposer("random", SPACE, 1)
    assert [tpe.propose(number, 0, past) for number in range(20)] == [random.propose(n, 0, past) for n in range(20)]
    assert tpe.propose(20, 0, past) != random.propose(20, 0, past)


def mean(proposals: Sequence[dict[str, Any]]) -> float:
    return sum(map(loss, proposals)) / len(proposals)


def test_without_hyperopt_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperopt", None)
    with pytest.raises(UserError, match=r"--algo=tpe: Hyperopt cannot be imported .*--algo=random"):
        make_proposer("tpe", SPACE, 1)

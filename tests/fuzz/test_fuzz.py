"""Every target with made-up input: a quick, repeatable round here, and one of new cases in the slow suite."""

from __future__ import annotations

import pytest

from tests.fuzz.target import Target, run
from tests.fuzz.targets import TARGETS


def name(target: Target) -> str:
    return target.name


@pytest.mark.parametrize("target", TARGETS, ids=name)
def test_every_case_ends_well(target: Target) -> None:
    figures = run(target, "quick", target.quick)
    assert sum(figures.ends.values()) == figures.cases >= min(target.quick, 2)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=name)
def test_every_one_of_many_cases_ends_well(target: Target) -> None:
    run(target, "slow", target.slow)


def test_the_slow_suite_is_ten_thousand_cases() -> None:
    assert sum(target.slow for target in TARGETS) >= 10_000

"""The benchmarks of size measure what they say, on tiny sizes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.paper_size import measured as measured_process
from benchmarks.scaling import PARTS, Problem, Sizes, exponent

TINY = Sizes(interactions=400, items=60, features=16, environments=2, negatives=8)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs(part: str) -> None:
    PARTS[part](Problem(TINY))


def test_the_exponent_of_a_power_is_found() -> None:
    assert exponent([1, 2, 4, 8], [3 * place**1.5 for place in (1, 2, 4, 8)]) == pytest.approx(1.5)


def test_peak_of_a_process_is_its_own(tmp_path: Path) -> None:
    small, large = (
        measured_process([sys.executable, "-c", f"bytearray({size})"], tmp_path / "log") for size in (1, 200_000_000)
    )
    assert 150_000_000 < large.peak - small.peak < 250_000_000

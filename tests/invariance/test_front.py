"""Pareto weights against the front that fixed weights draw."""

from __future__ import annotations

import pytest

from benchmarks.pareto_front import above_front, points
from recbole_painvrl.invariance import MaskSettings
from tests.invariance.pretrained import Study

SETTINGS = MaskSettings(batch_size=256, n_candidates=64, steps=120)


def test_pareto_weights_end_on_or_below_the_front_of_fixed_weights(small: Study) -> None:
    """Both judged on everything and without noise; the tolerance is a share of the front's range of risk."""
    rows = list(points(small, SETTINGS, (0.0, 1e3, 1e4, 1e5), ("l2",)))
    assert above_front(rows, "l2") <= 0.03
    fixed = [row for row in rows if row["kind"] == "fixed"]
    assert fixed[0]["erm"] < fixed[-1]["erm"] and fixed[0]["irm"] > fixed[-1]["irm"]
    assert all(0 <= row["stationarity"] <= 1 for row in rows)


def test_distance_from_a_front_by_hand() -> None:
    rows = [
        {"kind": "fixed", "irm": 0.0, "erm": 3.0},
        {"kind": "fixed", "irm": 2.0, "erm": 1.0},
        {"kind": "fixed", "irm": 2.0, "erm": 2.5},
        {"kind": "above", "irm": 1.0, "erm": 2.5},
        {"kind": "below", "irm": 1.0, "erm": 1.5},
        {"kind": "beyond", "irm": 4.0, "erm": 1.2},
    ]
    assert [above_front(rows, kind) for kind in ("above", "below", "beyond")] == pytest.approx([0.25, -0.25, 0.1])

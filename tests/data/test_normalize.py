"""Normalizations on matrices whose result is known."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_painvrl.data.normalize import NORMALIZATIONS, normalize


def run(rows: list[list[float]], kind: str, missing: list[int] | None = None) -> np.ndarray:
    """Normalizes ``rows`` below a padding row."""
    values = np.vstack([np.zeros(len(rows[0])), rows]).astype(np.float32)
    flags = np.zeros(len(values), dtype=bool)
    flags[missing or []] = True
    normalize(values, flags, kind)
    assert not values[0].any() and values.dtype == np.float32
    return values[1:]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", [[3, 4], [-1, 0], [1, -4]]),
        ("l2", [[0.6, 0.8], [-1, 0], [1 / np.sqrt(17), -4 / np.sqrt(17)]]),
        ("minmax", [[1, 1], [0, 0.5], [0.5, 0]]),
        ("standard", np.array([[2, 4], [-2, 0], [0, -4]]) / np.sqrt([8 / 3, 32 / 3])),
        ("centered", [[1 / np.sqrt(5), 2 / np.sqrt(5)], [-1, 0], [0, -1]]),
    ],
)
def test_known_results(kind: str, expected: list[list[float]]) -> None:
    assert np.allclose(run([[3, 4], [-1, 0], [1, -4]], kind), expected, atol=1e-6)


@pytest.mark.parametrize("kind", list(NORMALIZATIONS))
def test_missing_items_have_the_mean_of_the_others_and_do_not_count(kind: str) -> None:
    rows = [[3.0, 4.0], [0.0, 0.0], [-1.0, 2.0], [5.0, 1.0]]
    scaled = run(rows, kind, missing=[2])
    others = run([rows[0], rows[2], rows[3]], kind)
    assert np.allclose(scaled[[0, 2, 3]], others) and np.allclose(scaled[1], others.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", list(NORMALIZATIONS))
def test_constant_columns_and_zero_rows_stay_finite(kind: str) -> None:
    assert np.isfinite(run([[0, 0.1], [0, 0.1], [0, 0.1]], kind)).all()
    assert np.isfinite(run([[0, 0]], kind)).all()


def test_no_item_with_features_gives_zeros() -> None:
    assert not run([[1, 2], [3, 4]], "l2", missing=[1, 2]).any()

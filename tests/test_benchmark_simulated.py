"""The benchmarks' judgment of masks by the simulated truth: only where both speak of the same columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import simulated
from tests.report.made_runs import make_run, make_truth


@pytest.mark.parametrize("config", [{}, {"mask_axes": "features", "feature_rotation": "none"}])
def test_a_mask_of_columns_is_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: dict[str, Any]) -> None:
    make_truth(tmp_path)
    monkeypatch.setattr(simulated, "DATA", tmp_path / "data")
    run = {"dataset": "made", "folder": str(make_run(tmp_path, config=config))}
    found = simulated.masks(run)
    assert found is not None and {kind: values.tolist() for kind, values in found.items()} == {
        "invariant": [0.9, 0.8, 1.0],
        "spurious": [0.1, 0.0],
        "noise": [0.2],
    }
    assert simulated.mask_cells([run])[2] == "1.00 (1.00)"


@pytest.mark.parametrize("config", [{"mask_axes": "learned"}, {"feature_rotation": "pca"}])
def test_a_mask_of_turned_axes_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: dict[str, Any]) -> None:
    make_truth(tmp_path)
    monkeypatch.setattr(simulated, "DATA", tmp_path / "data")
    run = {"dataset": "made", "folder": str(make_run(tmp_path, config=config))}
    assert simulated.masks(run) is None
    assert simulated.mask_cells([run]) == ["", "", ""]

"""Every model's step in single precision is its step in double precision: losses, gradients and rankings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.model.models import OURS, build
from tests.model.test_degenerate import gradients

WITHOUT_CHANCE = {"BM3": {"dropout_prob": 0.0}}


@pytest.mark.parametrize("model", OURS)
def test_single_precision_is_double_within_its_rounding(model: str, tmp_path: Path) -> None:
    """Losses to 1e-5 of their size, each parameter's gradient to 1e-3 of its length, scores to 1e-4 of their spread."""
    built, _, loader = build(tmp_path, model, **WITHOUT_CHANCE.get(model, {}))
    batch = next(iter(loader))
    found = []
    for precision in (torch.float32, torch.float64):
        built.to(precision).train()
        if model != "FREEDOM" or precision == torch.float32:  # it draws edges, which have to be the same ones
            built.before_epoch()
        loss, on_parameters = gradients(built, batch)
        with torch.no_grad():
            scores = built.eval().full_sort_predict({built.USER_ID: torch.arange(1, 11)}).view(10, -1)[:, 1:]
        found.append((loss, on_parameters, scores))
    (single, on_single, scores), (double, on_double, expected) = found
    assert expected.dtype == torch.float64 and on_single.keys() == on_double.keys()
    assert single == pytest.approx(double, rel=1e-5)
    for name, gradient in on_double.items():
        error = float((on_single[name].double() - gradient).norm())
        assert error <= 1e-3 * float(gradient.norm()) + 1e-7, name
    assert float((scores.double() - expected).abs().max()) <= 1e-4 * float(expected.std()) + 1e-7

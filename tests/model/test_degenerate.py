"""What training does with zeros and closed masks, and how far single precision is from double."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from recbole_painvrl.model.unit_rows import unit_rows
from tests.model.models import build, to_final

COSINES: dict[str, dict[str, Any]] = {
    "softmax": {"rec_loss": "softmax", "temperature": 0.2},
    "bpr": {"rec_loss": "bpr", "n_negatives": 3, "temperature": 0.2, "backbone": "lightgcn"},
    "ultragcn": {"rec_loss": "ultragcn", "n_negatives": 3, "temperature": None},
}


def gradients(model: Any, batch: Any) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step and its gradients by name."""
    losses = model.calculate_loss(batch)
    loss = sum(losses) if isinstance(losses, tuple) else losses
    model.zero_grad()
    loss.backward()
    return float(loss.detach()), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_unit_rows_are_torchs_but_for_the_gradient_of_zeros() -> None:
    table = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    table[2] = 0
    ours, theirs = table.clone().requires_grad_(), table.clone().requires_grad_()
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(unit_rows(ours), normalize(theirs, dim=1))
    (unit_rows(ours) * weight).sum().backward()
    (normalize(theirs, dim=1) * weight).sum().backward()
    other = torch.arange(5) != 2
    assert torch.equal(ours.grad[other], theirs.grad[other])
    assert torch.equal(ours.grad[2], weight[2])


@pytest.mark.parametrize("final", [False, True], ids=["warm-up", "final"])
@pytest.mark.parametrize("kind", COSINES)
def test_items_of_zero_norm_have_gradients_of_an_ordinary_size(tmp_path: Path, kind: str, final: bool) -> None:
    """Items without features that a step scores by their content alone: their vector is the bias, which is zero."""
    model, _, loader = build(tmp_path, "PaInvRL", **COSINES[kind])
    if final:
        to_final(model)
    model.content.dense[1:6] = 0
    model.dropped_items = lambda: torch.arange(model.n_items) < 4
    _, found = gradients(model.train(), next(iter(loader)))
    assert all(torch.isfinite(value).all() and value.abs().max() < 100 for value in found.values())
    users, items = model.eval().tables()
    assert torch.isfinite(users @ items.T).all()


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["closed", "open"])
@pytest.mark.parametrize("convert", ["attention", "mask"])
@pytest.mark.parametrize("kind", COSINES)
def test_a_mask_may_close_or_open_entirely(tmp_path: Path, kind: str, convert: str, value: float) -> None:
    """Closed, the invariant branch is its bias, the same for all items; open, the variant one is zero."""
    model, _, loader = build(tmp_path, "PaInvRL", convert=convert, **COSINES[kind])
    model.mask.fill_(value)
    model.begin_final()
    loss, found = gradients(model.train(), next(iter(loader)))
    assert loss > 0 and all(torch.isfinite(one).all() and one.abs().max() < 100 for one in found.values())
    if convert == "attention":
        invariant, variant = model.branches()
        shut = variant if value else invariant
        assert torch.equal(shut, torch.zeros_like(shut))
    elif not value:
        assert not found["projection.weight"].any()
    for rho in (0.0, 1.0):
        model.rho.fill_(rho)
        users, items = model.eval().tables()
        assert torch.isfinite(users @ items.T).all()


@pytest.mark.parametrize("final", [False, True], ids=["warm-up", "final"])
@pytest.mark.parametrize("kind", COSINES)
def test_single_precision_is_double_within_a_hundred_thousandth(tmp_path: Path, kind: str, final: bool) -> None:
    """Losses to 1e-5 of their size, each parameter's gradient to 1e-4 of its length."""
    model, _, loader = build(tmp_path, "PaInvRL", id_dropout=0.0, **COSINES[kind])
    if final:
        to_final(model)
    batch = next(iter(loader))
    single, on_single = gradients(model, batch)
    double, on_double = gradients(model.double(), batch)
    assert single == pytest.approx(double, rel=1e-5)
    for name, expected in on_double.items():
        error = float((on_single[name].double() - expected).norm())
        assert error <= 1e-4 * float(expected.norm()) + 1e-8, name

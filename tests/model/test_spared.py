"""What spares copies without gradients gives what the plain arithmetic gives, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_painvrl.model.layers import BranchAttention
from recbole_painvrl.model.spared import added, beside, scaled
from tests.model.models import build, to_final


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kept", [None, torch.tensor([True, False, True, True, False])])
def test_tables_beside_each_other(kept: Tensor | None) -> None:
    left, right = drawn(5, 3), drawn(5, 2)
    before = left.clone()
    plain = beside(left, kept, right)
    with torch.no_grad():
        spared = beside(left, kept, right)
    assert torch.equal(plain, spared) and torch.equal(left, before)
    assert torch.equal(plain[:, 3:], right)
    assert torch.equal(plain[:, :3], left if kept is None else left * kept[:, None])


def test_tables_are_changed_in_place_without_gradients_alone() -> None:
    table, other, factor = drawn(6, 2), drawn(6, 2) + 1, drawn(6, 1)
    product, total = scaled(table, factor), added(table, other)
    assert torch.equal(table, drawn(6, 2))
    assert torch.equal(product, table * factor) and torch.equal(total, table + other)
    with torch.no_grad():
        mine, sums = table.clone(), table.clone()
        assert scaled(mine, factor) is mine and torch.equal(mine, product)
        assert added(sums, other) is sums and torch.equal(sums, total)


@pytest.mark.parametrize("keys", [{}, {"temperature": 0.2, "new_items": "content"}, {"backbone": "lightgcn"}])
def test_the_final_stage_scores_the_same_with_and_without_gradients(tmp_path: Path, keys: dict[str, Any]) -> None:
    model, _, _ = build(tmp_path, "PaInvRL", **keys)
    to_final(model)
    model.rho.fill_(0.7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = [table.detach() for table in model.tables()]
    with torch.no_grad():
        for mine, known in zip(model.tables(), plain, strict=True):
            assert torch.equal(mine, known)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_attention_in_blocks_weighs_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_painvrl.model.layers.BLOCK_ROWS", 16)
    attention = BranchAttention(8)
    attention.query.data.copy_(drawn(8))
    invariant, variant = drawn(70, 8), drawn(70, 8).flip(0)
    whole = attention(invariant, variant)[0].detach()
    with torch.no_grad():
        torch.testing.assert_close(attention(invariant, variant)[0], whole)

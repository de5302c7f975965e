"""The largest eigenvalues of wide matrices, against all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import leading as module
from recbole_painvrl.invariance.leading import FULL, leading

SIZE = 400


def symmetric(values: Tensor) -> Tensor:
    """A matrix with these eigenvalues."""
    axes = torch.linalg.qr(torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(0)))[0]
    found = axes * values @ axes.T
    return (found + found.T) / 2


def noise(size: int) -> Tensor:
    rows = torch.randn(8 * size, size, generator=torch.Generator().manual_seed(1))
    return rows.T @ rows / len(rows) - torch.eye(size)


CASES = {
    "noise": noise(SIZE),
    "a few that stand out": noise(SIZE)
    + symmetric(torch.cat([torch.tensor([30.0, 20.0, 10.0]), torch.zeros(SIZE - 3)])),
    "none above 0": symmetric(-torch.linspace(0, 3, SIZE)),
    "all below 0": symmetric(torch.linspace(-4, -1, SIZE)),
    "columns without any use": torch.block_diag(-noise(SIZE // 2).square(), torch.zeros(SIZE // 2, SIZE // 2)),
    "one far below": symmetric(torch.cat([torch.linspace(-1, 1, SIZE - 1), torch.tensor([-40.0])])),
    "nothing": torch.zeros(SIZE, SIZE),
    "all the same": -2 * torch.eye(SIZE),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("number", [1, 9])
def test_they_are_the_largest_of_all(name: str, number: int) -> None:
    matrix = CASES[name]
    assert SIZE > FULL
    values, vectors = leading(matrix, number)
    every = torch.linalg.eigvalsh(matrix.double()).flip(0)
    scale = float(every.square().mean().sqrt())
    torch.testing.assert_close(values.double(), every[:number], rtol=0, atol=1e-3 * scale + 1e-12)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(number), rtol=0, atol=1e-4)
    assert float((matrix @ vectors - vectors * values).norm(dim=0).max()) <= 2e-3 * scale + 1e-6
    again = leading(matrix.clone(), number)
    assert torch.equal(again[0], values) and torch.equal(again[1], vectors)


def test_where_steps_come_to_no_end_all_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = noise(SIZE)
    monkeypatch.setattr(module, "RESTARTS", 1)
    monkeypatch.setattr(module, "TOLERANCE", 1e-14)
    values, vectors = leading(matrix, 9)
    expected = torch.linalg.eigh(matrix)
    assert torch.equal(values, expected[0].flip(0)[:9]) and torch.equal(vectors, expected[1].flip(1)[:, :9])


@pytest.mark.parametrize(("size", "number"), [(1, 3), (5, 3), (FULL, 3), (SIZE, SIZE), (SIZE, SIZE + 7)])
def test_of_few_or_nearly_all_the_decomposition_is_a_whole_one(size: int, number: int) -> None:
    matrix = noise(size)
    values, vectors = leading(matrix, number)
    assert torch.equal(values, torch.linalg.eigh(matrix)[0].flip(0)[:number])
    assert vectors.shape == (size, min(number, size))

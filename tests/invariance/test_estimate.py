"""Squares of means that are seen with noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance.estimate import RunningSquare, estimated
from recbole_painvrl.invariance.penalty import PENALTIES, Penalty

PLAIN = Penalty(lambda terms: terms.losses[:, None])


def draws(mean: Tensor, count: int, noise: float, seed: int) -> list[Tensor]:
    """Draws [n, C] around a mean."""
    source = torch.Generator().manual_seed(seed)
    return [mean + noise * torch.randn(mean.shape, generator=source, dtype=mean.dtype) for _ in range(count)]


def test_unbiased_estimate_is_right_in_the_mean_where_the_others_see_the_noise() -> None:
    mean = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    found: dict[str, list[Tensor]] = {"unbiased": [], "average": [], "batch": []}
    for seed in range(400):
        for kind, values in found.items():
            memory = RunningSquare(kind, 0.8)
            values.append([memory.update(draw)[0] for draw in draws(mean, 12, 2.0, seed)][-1])
    means = {kind: torch.stack(values).mean(dim=0).tolist() for kind, values in found.items()}
    assert means["unbiased"] == pytest.approx([5.0, 0.0], abs=0.4)
    assert means["batch"] == pytest.approx([5.0 + 8.0, 8.0], abs=0.8)  # two rows of noise of variance 4
    assert 0.5 < means["average"][1] < 2.0


def test_unbiased_estimate_by_hand() -> None:
    memory = RunningSquare("unbiased", 0.5)
    square, past = memory.update(torch.tensor([[3.0]]))
    assert square.tolist() == [0] and past.tolist() == [[0]]
    square, past = memory.update(torch.tensor([[5.0]]))
    assert square.item() == pytest.approx(15) and past.item() == pytest.approx(3)
    # weights 1/8, 1/4, 1/2: products of the three pairs over their weights
    square, past = memory.update(torch.tensor([[-1.0]]))
    assert square.item() == pytest.approx((15 / 32 - 3 / 16 - 5 / 8) / (1 / 32 + 1 / 16 + 1 / 8))
    assert past.item() == pytest.approx((3 / 4 + 5 / 2) / (1 / 4 + 1 / 2))


def test_average_weighs_first_values_fully() -> None:
    memory = RunningSquare("average", 0.5)
    assert memory.update(torch.tensor([[4.0]]))[1].item() == 4
    square, mean = memory.update(torch.tensor([[1.0]]))
    assert mean.item() == pytest.approx((0.5 * 4 + 1) / 1.5)
    assert square.item() == pytest.approx(mean.item() ** 2)


@pytest.mark.parametrize("kind", ["unbiased", "average", "batch"])
def test_without_noise_every_estimate_is_the_penalty_with_its_derivative(kind: str) -> None:
    contrasts = torch.tensor([[1.0], [-2.0]], requires_grad=True)
    memory, mask = RunningSquare(kind, 0.9), torch.ones(4)
    memory.update(contrasts)
    value = estimated(PLAIN, contrasts, mask, memory)
    assert float(value.detach()) == pytest.approx(5)
    torch.testing.assert_close(torch.autograd.grad(value, contrasts)[0], 2 * contrasts.detach())


def test_mask_weighs_the_columns_of_a_penalty_by_column() -> None:
    mask = torch.tensor([0.5, 1.0], requires_grad=True)
    contrasts = torch.tensor([[2.0, 3.0]])
    value = estimated(PENALTIES["gv"], contrasts, mask, RunningSquare("batch"))
    assert float(value.detach()) == pytest.approx(0.25 * 4 + 9)
    assert torch.autograd.grad(value, mask)[0].tolist() == pytest.approx([2 * 0.5 * 4, 2 * 9])


@pytest.mark.parametrize(("kind", "decay"), [("median", 0.9), ("average", 1.0), ("unbiased", 0.0), ("batch", -0.1)])
def test_wrong_estimates_are_refused(kind: str, decay: float) -> None:
    with pytest.raises(ValueError, match="but got"):
        RunningSquare(kind, decay)

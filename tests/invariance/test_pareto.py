from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import NORMALIZERS, ParetoSettings, least_norm_weight, pareto_step

NONE = ParetoSettings(normalize="none")


def pairs(count: int = 40) -> list[tuple[Tensor, Tensor]]:
    """Random pairs of gradients [6] whose scales span seven orders of magnitude."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(count, 2, 6, generator=generator, dtype=torch.float64)
    scales = 10 ** (7 * torch.rand(count, 2, 1, generator=generator, dtype=torch.float64) - 5)
    return [(pair[0], pair[1]) for pair in drawn * scales]


def least_norm_on_grid(first: Tensor, second: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Squared length of the shortest mixture among 20,001 weights."""
    weight = torch.linspace(bounds[0], 1 - bounds[1], 20_001, dtype=first.dtype)[:, None]
    return (weight * first + (1 - weight) * second).square().sum(dim=1).min()


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.2, 0.3), (0.0, 0.5), (1.0, 0.0), (0.0, 1.0)])
def test_no_weight_on_a_grid_is_shorter(bounds: tuple[float, float]) -> None:
    for first, second in pairs():
        step = pareto_step(first, second, settings=ParetoSettings(normalize="none", bounds=bounds))
        best = float(least_norm_on_grid(first, second, bounds))
        assert step.norm <= best * (1 + 1e-9)
        assert step.norm >= best * (1 - 1e-3) - 1e-9 * float(first.square().sum() + second.square().sum())
        assert bounds[0] <= step.weight <= 1 - bounds[1]


def test_direction_meets_the_optimality_conditions_of_the_least_norm_point() -> None:
    """Karush-Kuhn-Tucker: <d, g> >= |d|^2 for both gradients, with equality where the weight is not 0."""
    for first, second in pairs():
        step = pareto_step(first, second, settings=NONE)
        slack = 1e-9 * float(first.norm() * first.norm() + second.norm() * second.norm())
        for gradient, weight in ((first, step.weight), (second, 1 - step.weight)):
            excess = float(step.direction @ gradient) - step.norm
            assert excess >= -slack
            assert weight * excess <= slack


def test_known_answers() -> None:
    assert least_norm_weight(1.0, 0.0, 1.0) == 0.5
    assert least_norm_weight(1.0, 0.0, 4.0) == pytest.approx(0.8)
    assert least_norm_weight(1.0, 2.0, 9.0) == 1.0
    assert least_norm_weight(9.0, 2.0, 1.0) == 0.0


def test_equal_gradients_take_the_middle() -> None:
    gradient = torch.tensor([1.0, 2.0])
    for normalize in ("none", "l2"):
        step = pareto_step(gradient, gradient, settings=ParetoSettings(normalize=normalize))
        assert step.weight == 0.5
        assert step.stationarity == pytest.approx(1)
        assert step.cosine == pytest.approx(1)
        assert step.angle == pytest.approx(0, abs=1e-3)


def test_opposite_gradients_are_stationary() -> None:
    gradient = torch.tensor([1.0, 2.0])
    step = pareto_step(gradient, -3 * gradient, settings=NONE)
    assert step.weight == pytest.approx(0.75)
    assert step.norm == pytest.approx(0, abs=1e-12)
    assert step.stationarity == pytest.approx(0, abs=1e-12)
    assert step.angle == pytest.approx(180)
    assert step.cosine == pytest.approx(-1)


@pytest.mark.parametrize("normalize", NORMALIZERS)
def test_a_zero_gradient_is_stationary(normalize: str) -> None:
    gradient, zero = torch.tensor([1.0, 2.0]), torch.zeros(2)
    settings = ParetoSettings(normalize=normalize)
    for first, second, weight in ((zero, gradient, 1.0), (gradient, zero, 0.0), (zero, zero, 0.5)):
        step = pareto_step(first, second, settings=settings)
        assert step.weight == weight
        assert step.norm == 0
        assert step.stationarity == 0
        assert math.isnan(step.angle)


@pytest.mark.parametrize("normalize", ["l2", "loss"])
def test_scale_of_an_objective_does_not_turn_the_direction(normalize: str) -> None:
    settings = ParetoSettings(normalize=normalize)
    for first, second in pairs(10):
        plain = pareto_step(first, second, (2.0, 5.0), settings).direction
        for scale in (1e-3, 1e3):
            scaled = pareto_step(scale * first, second, (scale * 2.0, 5.0), settings).direction
            torch.testing.assert_close(scaled, plain)


def test_l2_gives_the_bisector_and_tiny_gradients_do_not_vanish() -> None:
    first, second = 1e-30 * torch.tensor([3.0, 0.0]), torch.tensor([0.0, 5.0])
    step = pareto_step(first, second)
    torch.testing.assert_close(step.direction, torch.tensor([0.5, 0.5]))
    assert step.angle == pytest.approx(90)


def test_fixed_weight_adds_the_raw_gradients() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    step = pareto_step(first, second, settings=ParetoSettings(solver="fixed", irm_weight=3.0))
    torch.testing.assert_close(step.direction, torch.tensor([3.0, 2.0]))
    assert step.weight == 0.75


@pytest.mark.parametrize("normalize", NORMALIZERS)
def test_the_factor_is_the_fixed_weight_of_the_same_direction(normalize: str) -> None:
    for first, second in pairs(20):
        step = pareto_step(first, second, (2.0, 5.0), ParetoSettings(normalize=normalize, bounds=(0.1, 0.2)))
        fixed = pareto_step(first, second, settings=ParetoSettings(solver="fixed", irm_weight=step.factor))
        torch.testing.assert_close(fixed.direction / fixed.norm**0.5, step.direction / step.norm**0.5)
        assert fixed.factor == step.factor


def test_the_factor_of_one_gradient_alone() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert pareto_step(first, second).factor == pytest.approx(2.0)
    assert pareto_step(first, second, settings=ParetoSettings(bounds=(1, 0))).factor == math.inf
    assert pareto_step(first, second, settings=ParetoSettings(bounds=(0, 1))).factor == 0.0
    assert math.isnan(pareto_step(0 * first, second).factor) and math.isnan(pareto_step(first, 0 * second).factor)


@pytest.mark.parametrize("normalize", ["l2", "none"])
def test_a_small_step_raises_neither_of_two_quadratic_losses(normalize: str) -> None:
    generator = torch.Generator().manual_seed(5)
    for _ in range(20):
        targets = torch.randn(2, 4, generator=generator, dtype=torch.float64)
        curvature = torch.rand(2, 4, generator=generator, dtype=torch.float64) + 0.1
        point = torch.randn(4, generator=generator, dtype=torch.float64)
        before = (curvature * (point - targets).square()).sum(dim=1)
        gradients = 2 * curvature * (point - targets)
        step = pareto_step(gradients[0], gradients[1], settings=ParetoSettings(normalize=normalize))
        after = (curvature * (point - 1e-5 * step.direction - targets).square()).sum(dim=1)
        assert (after <= before + 1e-12).all()


def test_agrees_with_torchjd() -> None:
    aggregation = pytest.importorskip("torchjd.aggregation")
    mgda = aggregation.MGDA(epsilon=1e-12, max_iters=1000)
    for first, second in pairs(20):
        ours = pareto_step(first, second, settings=NONE).direction
        torch.testing.assert_close(mgda(torch.stack([first, second])), ours, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [{"solver": "mdga"}, {"normalize": "l1"}, {"bounds": (0.6, 0.6)}, {"bounds": (-0.1, 0)}, {"irm_weight": -1.0}],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="but got"):
        ParetoSettings(**wrong)

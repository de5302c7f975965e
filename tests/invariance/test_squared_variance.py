"""The mask as InvRL's code learns it, against the same objective written out on whole losses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from recbole_painvrl.invariance import BPRLoss, FrozenRecommender, Interactions, MaskSettings, SoftmaxLoss
from recbole_painvrl.invariance.sampling import EnvironmentSampler, draw_candidates
from recbole_painvrl.invariance.squared_variance import squared_variance, squared_variance_mask
from tests.invariance.pretrained import Study

ALL = MaskSettings(batch_size=None, n_candidates=None, sigma=0.0, steps=1, learning_rate=0.1, initial_scale=0.3)


def test_squared_variance_by_hand() -> None:
    """Two environments, one row of W, two columns: deviations 1 and 3 of each; gates at 1/2 and 1."""
    gradients = torch.tensor([[[2.0, 1.0]], [[4.0, 7.0]]])
    position = torch.tensor([0.0, 0.5])
    expected = (0.5 * (1 + 1)) ** 2 + (1.0 * (9 + 9)) ** 2
    assert float(squared_variance(position, gradients)) == expected


def test_a_gate_below_zero_still_pays() -> None:
    """The square loses its sign: nothing but the loss keeps a gate above 0."""
    gradients = torch.tensor([[[2.0]], [[4.0]]])
    below, above = (squared_variance(torch.tensor([at]), gradients) for at in (-0.75, -0.25))
    assert float(below) == float(above) > 0


def tables() -> tuple[FrozenRecommender, Interactions, Tensor]:
    """5 users, 4 items, 3 columns, and 7 interactions in two environments of 4 and 3."""
    source = torch.Generator().manual_seed(3)
    shapes = [(6, 2), (6, 2), (5, 2), (5, 3)]
    frozen = FrozenRecommender(*(torch.randn(*shape, generator=source) for shape in shapes))
    users, items = torch.tensor([1, 2, 3, 4, 5, 1, 2]), torch.tensor([1, 2, 3, 4, 1, 2, 3])
    return frozen, Interactions(users, items), torch.tensor([0, 0, 0, 0, 1, 1, 1])


def bpr_sum(frozen: FrozenRecommender, pairs: Interactions, projection: Tensor, gate: Tensor) -> Tensor:
    """The sum over interactions of BPR's mean loss against all items."""
    content = (gate * frozen.features) @ projection.T
    scores = frozen.user_id @ frozen.item_id.T + frozen.user_feature @ content.T
    own = scores[pairs.users, pairs.items][:, None]
    return softplus(scores[pairs.users][:, 1:] - own).mean(dim=1).sum()


def test_a_step_descends_the_whole_objective() -> None:
    """Adam's first step from 0 is the learning rate against the sign of the gradient, here made by autograd twice."""
    frozen, pairs, labels = tables()
    alpha, pull = 0.7, 0.2
    drawn = torch.Generator().manual_seed(1)
    found = squared_variance_mask(frozen, pairs, labels, BPRLoss(), drawn, ALL, (alpha, pull))
    start = 0.3 * torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    projection, mu = start.clone().requires_grad_(), torch.zeros(3, requires_grad=True)
    losses, gradients = [], []
    for environment in range(2):
        rows = labels == environment
        own = Interactions(pairs.users[rows], pairs.items[rows])
        losses.append(bpr_sum(frozen, own, projection, (mu + 0.5).clamp(0, 1)))
        gradients.append(torch.autograd.grad(losses[-1], projection, create_graph=True)[0])
    deviations = torch.stack(gradients) - torch.stack(gradients).mean(dim=0)
    penalty = ((mu + 0.5) * deviations.square().sum(dim=0)).square().sum()
    kept_short = 0.01 * projection.square().sum()
    (sum(losses) / 2 + kept_short + alpha * penalty + pull * mu.square().sum()).backward()
    torch.testing.assert_close(found.projection, start - 0.1 * projection.grad.sign(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.mask, 0.5 - 0.1 * mu.grad.sign(), rtol=0, atol=1e-5)
    assert found.history[0]["irm"] == pytest.approx(penalty.item(), rel=1e-4)
    assert found.history[0]["erm"] == pytest.approx((losses[0] / 4 + losses[1] / 3).item() / 2, rel=1e-5)
    assert found.history[0]["weight"] == pytest.approx(alpha / (1 + alpha))


def test_the_projection_is_kept_short_beside_the_losses() -> None:
    """Where no user tastes the features nothing else moves it."""
    frozen, pairs, labels = tables()
    untasted = replace(frozen, user_feature=torch.zeros_like(frozen.user_feature))
    drawn = torch.Generator().manual_seed(1)
    found = squared_variance_mask(untasted, pairs, labels, BPRLoss(), drawn, ALL, (0.7, 0.0))
    start = 0.3 * torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.projection, start - 0.1 * start.sign(), rtol=0, atol=1e-5)


def test_noise_batches_and_candidates_enter_the_objective_as_drawn() -> None:
    """The same numbers in the same order: projection, then candidates, rows and gates of the step."""
    frozen, pairs, labels = tables()
    settings = MaskSettings(batch_size=2, n_candidates=3, sigma=2.0, steps=1, initial_scale=0.3)
    found = squared_variance_mask(
        frozen, pairs, labels, SoftmaxLoss(), torch.Generator().manual_seed(1), settings, (1.0, 0.0)
    )
    drawn = torch.Generator().manual_seed(1)
    projection = 0.3 * torch.randn(2, 3, generator=drawn)
    sampler = EnvironmentSampler(labels, 2, 2, drawn)
    candidates = draw_candidates(4, 3, drawn, labels.device)
    batch = sampler.batch(pairs, candidates, torch.float32)
    gates = (2.0 * torch.randn(2, 3, generator=drawn) + 0.5).clamp(0, 1)
    assert {0.0, 1.0} <= set(gates.flatten().tolist())
    losses, gradients = [], []
    for environment in range(2):
        weights = projection.clone().requires_grad_()
        content = frozen.features @ (weights * gates[environment]).T
        scores = frozen.user_id @ frozen.item_id.T + frozen.user_feature @ content.T
        total = torch.zeros(())
        for user, item in zip(batch.users[environment], batch.items[environment], strict=True):
            among = sorted({int(item), *candidates.tolist()})
            total = total + torch.logsumexp(scores[user, among], dim=0) - scores[user, item]
        losses.append(float(total.detach()) / 2)
        gradients.append(torch.autograd.grad(total, weights)[0])
    assert found.history[0]["erm"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    expected = squared_variance(torch.zeros(3), torch.stack(gradients))
    assert found.history[0]["irm"] == pytest.approx(float(expected), rel=1e-4)


def test_every_step_is_counted_and_told() -> None:
    frozen, pairs, labels = tables()
    told: list[dict[str, float]] = []
    settings = replace(ALL, steps=3)
    drawn = torch.Generator().manual_seed(1)
    found = squared_variance_mask(frozen, pairs, labels, BPRLoss(), drawn, settings, (1.0, 0.1), told.append)
    assert [row["step"] for row in found.history] == [1, 2, 3]
    assert told == found.history
    assert found.history[-1]["mask_mean"] == pytest.approx(float(found.mask.mean()))


def test_gates_end_between_zero_and_one() -> None:
    """A step of 2 would carry every gate beyond."""
    frozen, pairs, labels = tables()
    drawn = torch.Generator().manual_seed(1)
    found = squared_variance_mask(frozen, pairs, labels, BPRLoss(), drawn, replace(ALL, learning_rate=2.0), (1.0, 0.0))
    assert set(found.mask.tolist()) <= {0.0, 1.0}


QUICK = MaskSettings(batch_size=64, n_candidates=32, steps=30, learning_rate=0.02)


def masks(small: Study, weights: tuple[float, float], seed: int = 1) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    found = squared_variance_mask(small.frozen, small.interactions, small.labels, SoftmaxLoss(), source, QUICK, weights)
    assert len(found.history) == 30 and bool(((found.mask >= 0) & (found.mask <= 1)).all())
    return found.mask


def test_the_pull_keeps_gates_at_one_half(small: Study) -> None:
    free, held = (float((masks(small, (0.0, pull)) - 0.5).abs().max()) for pull in (0.0, 1e6))
    assert held < 0.1 < free


def test_equal_generators_give_equal_masks(small: Study) -> None:
    assert torch.equal(masks(small, (1.0, 0.1)), masks(small, (1.0, 0.1)))
    assert not torch.equal(masks(small, (1.0, 0.1)), masks(small, (1.0, 0.1), seed=2))


def test_one_environment_is_refused() -> None:
    frozen, pairs, labels = tables()
    with pytest.raises(ValueError, match="at least 2 environments"):
        squared_variance_mask(frozen, pairs, labels * 0, BPRLoss(), torch.Generator(), ALL, (1.0, 0.1))

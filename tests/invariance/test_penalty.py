from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from recbole_painvrl.invariance import (
    PENALTIES,
    BPRLoss,
    EnvironmentBatch,
    EnvironmentTerms,
    FrozenRecommender,
    PairLoss,
    SoftmaxLoss,
    UltraGCNLoss,
    environment_terms,
    mean_risk_gradients,
)

USERS, ITEMS, WIDTH, COLUMNS = 9, 12, 3, 5


def tables(dtype: torch.dtype, seed: int = 0) -> FrozenRecommender:
    """Small random tables with a scale and a bias."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(USERS, 2), (USERS, WIDTH), (ITEMS, 2), (ITEMS, COLUMNS)]
    parts = [torch.randn(*size, generator=generator, dtype=dtype) for size in sizes]
    scale = torch.rand(ITEMS, generator=generator, dtype=dtype) + 0.5
    return FrozenRecommender(*parts, item_scale=scale, bias=torch.randn(WIDTH, generator=generator, dtype=dtype))


def rows(dtype: torch.dtype) -> EnvironmentBatch:
    """Two environments of four rows, the last row of the second being padding."""
    users = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0]])
    items = torch.tensor([[1, 2, 3, 4], [2, 9, 11, 0]])
    weights = torch.tensor([[1 / 4] * 4, [1 / 3] * 3 + [0]], dtype=dtype)
    return EnvironmentBatch(users, items, weights, torch.tensor([2, 5, 7, 9, 10]))


def losses(dtype: torch.dtype) -> dict[str, PairLoss]:
    """The three losses on tables of this size."""
    generator = torch.Generator().manual_seed(8)
    users, items = torch.rand(USERS, generator=generator), torch.rand(ITEMS, generator=generator)
    ultragcn = UltraGCNLoss(users.to(dtype), items.to(dtype), (0.5, 1.0, 2.0, 0.3), 3.0)
    return {"ultragcn": ultragcn, "softmax": SoftmaxLoss(2.5), "bpr": BPRLoss()}


def score_table(frozen: FrozenRecommender, projection: Tensor) -> Tensor:
    """Scores of all users and items [U, I], straight from the definition."""
    content = frozen.features @ projection.T + frozen.bias
    return frozen.item_scale * (frozen.user_id @ frozen.item_id.T + frozen.user_feature @ content.T)


def loss_of_row(name: str, loss: PairLoss, scores: Tensor, user: int, item: int, candidates: list[int]) -> Tensor:
    """The loss of one row, written out."""
    own, others = scores[user, item], scores[user, candidates]
    if name == "bpr":
        return softplus(others - own).mean()
    if name == "softmax":
        terms = [loss.candidate_weight * scores[user, j].exp() for j in candidates if j != item]
        return -torch.log(own.exp() / (own.exp() + sum(terms)))
    w1, w2, w3, w4 = loss.constants
    beta = loss.user_factor[user] * loss.item_factor
    total = (w1 + w2 * beta[item]) * softplus(-own)
    return total + loss.negative_weight * ((w3 + w4 * beta[candidates]) * softplus(others)).mean()


def mean_losses(name: str, loss: PairLoss, scores: Tensor, batch: EnvironmentBatch) -> Tensor:
    """Mean loss of each environment [E], a row at a time."""
    parts = (batch.users, batch.items, batch.weights)
    values = [
        sum(
            weight * loss_of_row(name, loss, scores, user, item, batch.candidates.tolist())
            for user, item, weight in zip(*(part[e].tolist() for part in parts), strict=True)
        )
        for e in range(batch.users.shape[0])
    ]
    return torch.stack(values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["ultragcn", "softmax", "bpr"])
def test_closed_form_equals_autograd(name: str, dtype: torch.dtype) -> None:
    frozen, batch, loss = tables(dtype), rows(dtype), losses(dtype)[name]
    projection = torch.randn(WIDTH, COLUMNS, generator=torch.Generator().manual_seed(1), dtype=dtype).requires_grad_()
    factor = torch.ones((), dtype=dtype, requires_grad=True)
    expected = mean_losses(name, loss, factor * score_table(frozen, projection), batch)
    terms = environment_terms(frozen.folded(), batch, projection.detach(), loss)
    torch.testing.assert_close(terms.losses, expected.detach(), rtol=1e-5, atol=1e-6)
    for e, value in enumerate(expected):
        on_projection, on_factor = torch.autograd.grad(value, (projection, factor), retain_graph=True)
        assert float((terms.gradients[e] - on_projection).norm() / on_projection.norm()) < 1e-5
        assert float(terms.scale_gradients[e]) == pytest.approx(float(on_factor), rel=1e-4)


@pytest.mark.parametrize("penalty", list(PENALTIES))
@pytest.mark.parametrize("name", ["ultragcn", "softmax", "bpr"])
def test_penalties_are_differentiated_by_one_backward(name: str, penalty: str) -> None:
    frozen, batch = tables(torch.float64).folded(), rows(torch.float64)
    loss = losses(torch.float64)[name]
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(COLUMNS, generator=generator, dtype=torch.float64).requires_grad_()
    projection = torch.randn(WIDTH, COLUMNS, generator=generator, dtype=torch.float64).requires_grad_()

    def value(mask: Tensor, projection: Tensor) -> Tensor:
        return PENALTIES[penalty](environment_terms(frozen, batch, projection * mask, loss), mask)

    assert torch.autograd.gradcheck(value, (mask, projection))


def test_one_projection_an_environment_equals_one_at_a_time() -> None:
    frozen, batch = tables(torch.float64).folded(), rows(torch.float64)
    each = torch.randn(2, WIDTH, COLUMNS, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    together = environment_terms(frozen, batch, each, SoftmaxLoss())
    for e in range(2):
        alone = environment_terms(frozen, batch, each[e], SoftmaxLoss())
        torch.testing.assert_close(together.gradients[e], alone.gradients[e])
        torch.testing.assert_close(together.losses[e], alone.losses[e])


def test_gradients_of_the_mean_risk_follow_from_those_of_the_environments() -> None:
    frozen, batch, loss = tables(torch.float64).folded(), rows(torch.float64), BPRLoss()
    generator = torch.Generator().manual_seed(6)
    mask = torch.rand(COLUMNS, generator=generator, dtype=torch.float64).requires_grad_()
    projection = torch.randn(WIDTH, COLUMNS, generator=generator, dtype=torch.float64).requires_grad_()
    terms = environment_terms(frozen, batch, projection * mask, loss)
    expected = torch.autograd.grad(terms.losses.mean(), (mask, projection))
    torch.testing.assert_close(mean_risk_gradients(terms, projection, mask), expected)


def test_penalties_by_hand() -> None:
    gradients = torch.tensor([[[1.0, 0.0], [3.0, 2.0]], [[3.0, 0.0], [3.0, 6.0]]])
    terms = EnvironmentTerms(torch.tensor([1.0, 4.0]), gradients, torch.tensor([3.0, -1.0]))
    mask = torch.tensor([0.5, 1.0])
    # variances over environments: [[1, 0], [0, 4]]; mean over the rows of W: [1/2, 2]
    assert float(PENALTIES["gv"](terms, mask)) == pytest.approx(0.25 * 0.5 + 2.0)
    assert float(PENALTIES["irmv1"](terms, mask)) == pytest.approx((9 + 1) / 2)
    assert float(PENALTIES["vrex"](terms, mask)) == pytest.approx(2.25)


@pytest.mark.parametrize("penalty", ["gv", "vrex"])
def test_equal_environments_cost_nothing(penalty: str) -> None:
    frozen, batch = tables(torch.float64).folded(), rows(torch.float64)
    twins = replace(batch, users=batch.users[[0, 0]], items=batch.items[[0, 0]], weights=batch.weights[[0, 0]])
    terms = environment_terms(frozen, twins, torch.ones(WIDTH, COLUMNS, dtype=torch.float64), BPRLoss())
    assert float(PENALTIES[penalty](terms, torch.ones(COLUMNS, dtype=torch.float64))) == pytest.approx(0, abs=1e-20)


def test_padding_rows_do_not_count() -> None:
    frozen, batch = tables(torch.float64).folded(), rows(torch.float64)
    users, items = batch.users.clone(), batch.items.clone()
    users[1, 3], items[1, 3] = 8, 10
    projection = torch.ones(WIDTH, COLUMNS, dtype=torch.float64)
    one = environment_terms(frozen, batch, projection, BPRLoss())
    other = environment_terms(frozen, replace(batch, users=users, items=items), projection, BPRLoss())
    torch.testing.assert_close(one.gradients, other.gradients)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="items of item_id and features must agree, but got 12 and 11"):
        replace(tables(torch.float32), features=torch.zeros(ITEMS - 1, COLUMNS))

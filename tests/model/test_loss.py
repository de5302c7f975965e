"""Losses against plain autograd, finite differences and known answers.

Letters: U users, I items, d embedding width, B batch, N negatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.loss import (
    bpr_loss,
    item_graph_loss,
    item_item_graph,
    sampled_scores,
    softmax,
    softmax_loss,
    ultragcn_loss,
    ultragcn_weights,
)
from recbole_painvrl.randomness import generator

N_USERS, N_ITEMS, SIZE, N_NEGATIVES = 7, 9, 4, 5
WEIGHTS = ultragcn_weights(
    torch.tensor([0, 0, 1, 2, 3, 4, 5, 6]), torch.tensor([1, 2, 2, 3, 4, 5, 6, 8]), N_USERS, N_ITEMS, (0.5, 2, 0.25, 3)
)
NEIGHBORS = torch.arange(N_ITEMS * 3).reshape(N_ITEMS, 3) % N_ITEMS
OMEGA = torch.linspace(0, 1, N_ITEMS * 3).reshape(N_ITEMS, 3)
CANDIDATES = torch.tensor([2, 5, 5, 7])
MASK = torch.arange(N_ITEMS) % 2 == 1
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def tables(dtype: torch.dtype = torch.float64, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Returns random leaf tables [U, d] and [I, d]."""
    source = generator(1, "tables")
    users = torch.randn(N_USERS, SIZE, generator=source, dtype=torch.float64) * scale
    items = torch.randn(N_ITEMS, SIZE, generator=source, dtype=torch.float64)
    return users.to(dtype).requires_grad_(), items.to(dtype).requires_grad_()


def batch(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns user [B], positive [B] and negatives [B, N]; at 12 rows users and items repeat, also inside a row."""
    source = generator(2, "batch")
    user = torch.randint(N_USERS, (size,), generator=source)
    positive = torch.randint(1, N_ITEMS, (size,), generator=source)
    negatives = torch.randint(N_ITEMS, (size, N_NEGATIVES), generator=source)
    if size > 2:
        negatives[0], negatives[1, 0] = 3, positive[1]
        user[2], positive[2] = user[1], positive[1]
    return user, positive, negatives


def naive_scores(users: Tensor, items: Tensor, user: Tensor, item: Tensor) -> Tensor:
    """Returns the scores [B, K] by gathering."""
    return (users[user].unsqueeze(1) * items[item]).sum(dim=2)


def naive_ultragcn(users: Tensor, items: Tensor, user: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    """Returns equation 4's sum over the batch, divided by B, with R = 10."""
    beta = WEIGHTS.user[user].unsqueeze(1) * WEIGHTS.item
    rows = torch.arange(len(user))
    chosen = functional.softplus(-naive_scores(users, items, user, positive.unsqueeze(1)))[:, 0]
    sampled = functional.softplus(naive_scores(users, items, user, negatives))
    chosen = chosen * (0.5 + 2 * beta[rows, positive])
    sampled = sampled * (0.25 + 3 * beta.gather(1, negatives))
    return (chosen + 10 * sampled.mean(dim=1)).sum() / len(user)


def naive_bpr(users: Tensor, items: Tensor, user: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    """Returns the mean of -log sigmoid of all score differences."""
    chosen = naive_scores(users, items, user, positive.unsqueeze(1))
    return -functional.logsigmoid(chosen - naive_scores(users, items, user, negatives)).mean()


def naive_graph(users: Tensor, items: Tensor, user: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    """Returns the item-item term by gathering."""
    scores = naive_scores(users, items, user, NEIGHBORS[positive])
    return -(functional.logsigmoid(scores) * OMEGA[positive]).sum(dim=1).mean()


def naive_softmax(allowed: Tensor) -> Loss:
    """Returns the cross-entropy over the allowed items [I] and the row's own."""

    def loss(users: Tensor, items: Tensor, user: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
        competes = allowed.repeat(len(user), 1)
        competes[torch.arange(len(user)), positive] = True
        logits = (users[user] @ items.T).masked_fill(~competes, -torch.inf)
        return functional.cross_entropy(logits, positive)

    return loss


def indicator(index: Tensor) -> Tensor:
    """Returns the mask [I] that is true at ``index``."""
    return torch.zeros(N_ITEMS, dtype=torch.bool).index_fill(0, index, True)


PAIRS: dict[str, tuple[Loss, Loss]] = {
    "ultragcn": (lambda *a: ultragcn_loss(*a, WEIGHTS, negative_weight=10.0), naive_ultragcn),
    "bpr": (bpr_loss, naive_bpr),
    "item graph": (lambda *a: item_graph_loss(*a[:4], NEIGHBORS, OMEGA), naive_graph),
    "softmax": (lambda *a: softmax_loss(*a[:4]), naive_softmax(indicator(torch.arange(1, N_ITEMS)))),
    "sampled softmax": (lambda *a: softmax_loss(*a[:4], CANDIDATES), naive_softmax(indicator(CANDIDATES))),
    "masked softmax": (lambda *a: softmax_loss(*a[:4], MASK), naive_softmax(MASK)),
}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Loss, Loss]:
    """A loss of the package and the same loss written plainly."""
    return PAIRS[request.param]


@pytest.mark.parametrize("size", [1, 12])
def test_losses_and_gradients_equal_plain_autograd(pair: tuple[Loss, Loss], size: int) -> None:
    """Values and gradients agree, with repeated users and items, and the incoming gradient is honored."""
    users, items = tables()
    values = [loss(users, items, *batch(size)) for loss in pair]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)
    ours, plain = (torch.autograd.grad(3.5 * value, (users, items)) for value in values)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_gradients_equal_finite_differences(pair: tuple[Loss, Loss]) -> None:
    """Closed-form gradients pass the numerical check in double precision."""
    assert torch.autograd.gradcheck(lambda users, items: pair[0](users, items, *batch(12)), tables())


@pytest.mark.parametrize("chunk", [1, 20, 1 << 20])
def test_softmax_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Loss and gradients are the same however many users are taken at a time."""
    monkeypatch.setattr(softmax, "CHUNK_ELEMENTS", {"cpu": chunk})
    monkeypatch.setattr(softmax, "SMALLEST_CHUNK", 1)
    ours, plain = PAIRS["sampled softmax"]
    users, items = tables()
    gradients = [torch.autograd.grad(loss(users, items, *batch(12)), (users, items)) for loss in (ours, plain)]
    torch.testing.assert_close(*gradients)


def test_gradients_flow_through_tables_that_are_no_leaves(pair: tuple[Loss, Loss]) -> None:
    """Normalized users and items that share a projection get the gradients of plain autograd."""
    users, items = tables()
    found = []
    for loss in pair:
        wide = torch.cat([items[:, :2], functional.linear(items, items[:2])], dim=1)
        value = loss(functional.normalize(users) / 0.2, functional.normalize(wide).T.contiguous().T, *batch(12))
        found.append(torch.autograd.grad(value, (users, items)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_table_without_gradient_stays_without(pair: tuple[Loss, Loss], frozen: int) -> None:
    """One frozen table does not change the other's gradient."""
    both = tables()
    expected = torch.autograd.grad(pair[1](*both, *batch(12)), both[1 - frozen])[0]
    both[frozen].requires_grad_(False)
    pair[0](*both, *batch(12)).backward()
    assert both[frozen].grad is None
    torch.testing.assert_close(both[1 - frozen].grad, expected)


def test_evaluation_needs_no_gradient(pair: tuple[Loss, Loss]) -> None:
    """Without gradients the value is the same."""
    users, items = tables()
    with torch.no_grad():
        value = pair[0](users, items, *batch(12))
    assert not value.requires_grad
    torch.testing.assert_close(value, pair[1](users, items, *batch(12)))


def test_an_empty_batch_costs_nothing(pair: tuple[Loss, Loss]) -> None:
    """The loss of no rows is zero, with zero gradients of the right shape."""
    users, items = tables(torch.float32)
    value = pair[0](users, items, *batch(0))
    assert value.item() == 0.0
    for gradient in torch.autograd.grad(value, (users, items)):
        assert not gradient.any()


def test_huge_scores_stay_finite(pair: tuple[Loss, Loss]) -> None:
    """Scores up to about 1e4 give finite values and gradients in single precision."""
    users, items = tables(torch.float32, scale=3e3)
    assert (users @ items.T).abs().max() > 1e4
    value = pair[0](users, items, *batch(12))
    torch.testing.assert_close(value, pair[1](users, items, *batch(12)), rtol=1e-4, atol=1e-3)
    for gradient in torch.autograd.grad(value, (users, items)):
        assert gradient.isfinite().all()


def test_results_repeat_bit_for_bit(pair: tuple[Loss, Loss]) -> None:
    """Two calls give the same bits, so that a resumed run can equal an uninterrupted one."""
    users, items = tables(torch.float32)
    first, second = (torch.autograd.grad(pair[0](users, items, *batch(12)), (users, items)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_half_precision_tables_are_summed_in_single(pair: tuple[Loss, Loss]) -> None:
    """Under autocast a half-precision item table gives a single-precision loss and a gradient of its own type."""
    users, items = tables(torch.float32)
    half = items.detach().to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = pair[0](users, half, *batch(12))
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(value, pair[1](users, half.float(), *batch(12)))


def test_a_negative_a_row_may_come_without_its_dimension() -> None:
    """Negatives [B] are negatives [B, 1]."""
    user, positive, negatives = batch(12)
    one = negatives[:, 0]
    for loss in (bpr_loss, ultragcn_loss):
        assert torch.equal(loss(*tables(), user, positive, one), loss(*tables(), user, positive, one.unsqueeze(1)))


def test_bpr_of_equal_scores_is_log_two() -> None:
    """A model that knows nothing pays log 2."""
    value = bpr_loss(torch.zeros(N_USERS, SIZE), torch.zeros(N_ITEMS, SIZE), *batch(12))
    assert value.item() == pytest.approx(math.log(2))


def test_softmax_of_equal_scores_is_log_of_the_candidates() -> None:
    """The padding item is no candidate, and a row's own item competes even if it is none."""
    flat = torch.zeros(N_USERS, SIZE), torch.zeros(N_ITEMS, SIZE)
    user, positive = torch.tensor([1]), torch.tensor([4])
    assert softmax_loss(*flat, user, positive).item() == pytest.approx(math.log(N_ITEMS - 1))
    assert softmax_loss(*flat, user, positive, torch.tensor([1, 2])).item() == pytest.approx(math.log(3))
    assert softmax_loss(*flat, user, positive, torch.tensor([4, 2])).item() == pytest.approx(math.log(2))


def test_softmax_without_candidates_is_refused() -> None:
    """A mask that allows nothing is a mistake, not a loss of zero."""
    with pytest.raises(ValueError, match="none of the 9 items"):
        softmax_loss(*tables(), *batch(2)[:2], torch.zeros(N_ITEMS, dtype=torch.bool))


@pytest.mark.parametrize("item", [-1, N_ITEMS])
def test_an_item_outside_the_table_is_refused(item: int) -> None:
    """The sparse kernel would read foreign memory."""
    with pytest.raises(IndexError, match=r"0\.\.8"):
        sampled_scores(*tables(), torch.tensor([0]), torch.tensor([[item]]))


def test_more_negatives_than_items_are_scored() -> None:
    """A row may hold more samples than there are items; repetitions then are certain."""
    user, positive, negatives = batch(12)
    many = negatives.repeat(1, 4)
    users, items = tables()
    found = [
        torch.autograd.grad(ultragcn_loss(users, items, user, positive, drawn, WEIGHTS), (users, items))
        for drawn in (many, negatives)
    ]
    torch.testing.assert_close(*found)


def test_ultragcn_weights_follow_the_degrees() -> None:
    """A hand-made graph: user 1 has items 1 and 2, user 2 has item 2; the repeated pair counts once."""
    pairs = torch.tensor([1, 1, 2, 2]), torch.tensor([1, 2, 2, 2])
    weights = ultragcn_weights(*pairs, 3, 4, (0.5, 1.0, 0.0, 2.0))
    beta = math.sqrt(3) / 2 / math.sqrt(2), math.sqrt(3) / 2 / math.sqrt(3), math.sqrt(3) / 2
    found = weights(torch.tensor([1]), torch.tensor([[1, 2, 3]]))
    torch.testing.assert_close(found, torch.tensor([[0.5 + beta[0], 2 * beta[1], 2 * beta[2]]]))
    assert weights.user[0] == 0.0


def test_ultragcn_weights_need_four_terms() -> None:
    """The message names the key."""
    with pytest.raises(UserError, match="loss_weights"):
        ultragcn_weights(torch.tensor([1]), torch.tensor([1]), 2, 2, (1.0, 1.0))


@pytest.mark.parametrize("block", [1, 4, 100])
def test_item_item_graph_equals_the_dense_one(block: int) -> None:
    """Neighbors and weights are the largest entries of the dense matrix, whatever the block."""
    source = generator(3, "graph")
    user, item = torch.randint(6, (40,), generator=source), torch.randint(1, 8, (40,), generator=source)
    chosen = torch.zeros(6, 8, dtype=torch.float64)
    chosen[user, item] = 1.0
    counts = chosen.T @ chosen
    sums = counts.sum(dim=1)
    dense = counts * ((sums + 1).sqrt() / sums.clamp(min=1)).unsqueeze(1) * (sums + 1).rsqrt()
    neighbors, omega = item_item_graph(user, item, 6, 8, 3, block)
    torch.testing.assert_close(omega, dense.topk(3, dim=1).values.float())
    torch.testing.assert_close(dense.gather(1, neighbors).float(), omega)


def test_items_with_few_neighbors_are_filled_with_weight_zero() -> None:
    """An item that nobody chose has none, one chosen alone has only itself."""
    neighbors, omega = item_item_graph(torch.tensor([0, 1, 1]), torch.tensor([1, 2, 3]), 2, 5, 2)
    assert neighbors[1].tolist() == [1, 0] and omega[1, 1] == 0 and omega[1, 0] > 0
    assert not neighbors[4].any() and not omega[4].any()
    assert sorted(neighbors[2].tolist()) == [2, 3]

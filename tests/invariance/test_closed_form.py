from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recbole_painvrl.invariance import PENALTIES, EnvironmentBatch, environment_terms
from recbole_painvrl.invariance.closed_form import PenalizedBatch
from recbole_painvrl.invariance.estimate import ESTIMATES, RunningSquare, estimated
from recbole_painvrl.invariance.penalty import Penalty
from recbole_painvrl.invariance.rows import Members
from tests.invariance.test_penalty import COLUMNS, WIDTH, losses, rows, tables

# all three terms at once, as no penalty of the package has them
EVERYTHING = Penalty(
    lambda terms: (
        terms.losses[:, None]
        + terms.gradients.flatten(start_dim=1).sum(dim=1)[:, None]
        + 2 * terms.scale_gradients[:, None]
    ),
    by_scale=True,
)


def batches() -> list[EnvironmentBatch]:
    """Two batches of two environments, with users and items that come up in both."""
    first = rows(torch.float64)
    return [first, replace(first, users=first.users.flip(1), items=(first.items + 1) % 11)]


@pytest.mark.parametrize("kind", ESTIMATES)
@pytest.mark.parametrize("penalty", [*PENALTIES.values(), EVERYTHING], ids=[*PENALTIES, "everything"])
@pytest.mark.parametrize("name", ["ultragcn", "softmax", "bpr"])
def test_the_estimated_penalty_is_differentiated_as_autograd_does(name: str, penalty: Penalty, kind: str) -> None:
    frozen, loss = tables(torch.float64).folded(), losses(torch.float64)[name]
    source = torch.Generator().manual_seed(3)
    mask = torch.rand(COLUMNS, generator=source, dtype=torch.float64)
    projection = torch.randn(WIDTH, COLUMNS, generator=source, dtype=torch.float64)
    memories = RunningSquare(kind, 0.9), RunningSquare(kind, 0.9)
    for batch in batches():
        leaf = mask.clone().requires_grad_()
        terms = environment_terms(frozen, batch, projection * leaf, loss)
        value = estimated(penalty, penalty.contrasts(terms), leaf, memories[0])
        (expected,) = torch.autograd.grad(value, leaf)
        found = PenalizedBatch(frozen, batch, projection * mask, loss, penalty)
        torch.testing.assert_close(found.estimate(mask, projection, memories[1]), (float(value.detach()), expected))
        torch.testing.assert_close(found.terms[:2], (terms.losses.detach(), terms.gradients.detach()))
        assert not any(part.requires_grad for part in found.terms)


def test_derivatives_by_the_scale_are_missing_where_no_penalty_asks_for_them() -> None:
    frozen, batch = tables(torch.float64).folded(), rows(torch.float64)
    point = torch.ones(WIDTH, COLUMNS, dtype=torch.float64)
    for name, penalty in PENALTIES.items():
        terms = PenalizedBatch(frozen, batch, point, losses(torch.float64)["bpr"], penalty).terms
        assert bool(terms.scale_gradients.isnan().all()) == (name != "irmv1")


def test_members_of_a_table_and_sums_over_their_entries() -> None:
    members = Members.of(torch.tensor([[7, 2, 7], [3, 2, 2]]), 9)
    assert members.numbers.tolist() == [2, 3, 7]
    assert members.numbers[members.place].tolist() == [[7, 2, 7], [3, 2, 2]]
    values = torch.tensor([[[1.0], [2.0], [4.0]], [[8.0], [16.0], [32.0]]])
    assert members.summed(values).flatten().tolist() == [50.0, 8.0, 5.0]

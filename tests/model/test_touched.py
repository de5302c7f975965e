"""A step that gathers the items it touches is the step on all items: losses, gradients, shares of several processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_painvrl.distributed import Ranks
from recbole_painvrl.model import objective
from recbole_painvrl.model.loss import RowsByUser
from recbole_painvrl.model.touched import Touched, worthwhile
from tests.model.models import build, to_final

CPU = torch.device("cpu")
MODELS = [
    ("ERM", {}),
    ("ERM", {"temperature": 0.2, "id_dropout": 0.4, "new_items": "content"}),
    ("ERM", {"modalities": {}}),
    ("UltraGCN", {"rec_loss": "softmax"}),
    ("PaInvRL", {}),
    ("PaInvRL", {"temperature": 0.2, "id_dropout": 0.4}),
    ("PaInvRL", {"convert": "mask"}),
]


def test_places_are_those_of_the_ids() -> None:
    rows = RowsByUser.of(torch.tensor([8, 4, 8, 6]), CPU)
    touched = Touched.of(rows, torch.tensor([2, 5, 9]), torch.tensor([9, 3, 3, 7]))
    assert touched.users[touched.rows.user[touched.rows.place]].tolist() == [4, 6, 8, 8]
    assert touched.items.tolist() == [2, 3, 5, 7, 9]
    assert touched.items[touched.candidates].tolist() == [2, 5, 9]
    assert touched.items[touched.chosen].tolist() == [9, 3, 3, 7]


def test_gathering_is_for_few_items() -> None:
    assert worthwhile(50, 100) and not worthwhile(51, 100)


def everything(touched: Touched, n_users: int, n_items: int) -> Touched:
    """The same rows, candidates and chosen items among all users and items."""
    users, items = touched.users, touched.items
    rows = replace(touched.rows, user=users[touched.rows.user])
    return Touched(torch.arange(n_users), torch.arange(n_items), rows, items[touched.candidates], items[touched.chosen])


def losses(model: Any, batch: Any, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The summed loss of a batch with what is drawn from a state of the generators on, and the gradients."""
    for source in model.generators().values():
        source.set_state(state)
    model.zero_grad()
    found = model.train().calculate_loss(batch)
    total = sum(found) if isinstance(found, tuple) else found
    total.backward()
    return total.detach(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.fixture(params=MODELS, ids=lambda param: "-".join(map(str, (param[0], *param[1]))))
def built(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A model that draws 6 candidates a step, whose touched items are always gathered, and a batch."""
    name, keys = request.param
    monkeypatch.setattr(objective, "worthwhile", lambda n_touched, n_items: True)
    model, _, loader = build(tmp_path, name, n_negatives=6, **keys)
    if name == "PaInvRL" and keys.get("convert") != "mask":
        to_final(model)
    return model, next(iter(loader))


def test_touched_items_give_the_loss_of_all(built: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = built
    state = torch.Generator().manual_seed(3).get_state()
    few, by_few = losses(model, batch, state)
    gathered = []
    draw = model.objective.touched

    def whole(interaction: Any) -> Touched:
        gathered.append(len(draw(interaction).items))
        model.objective.generator.set_state(state)
        return everything(draw(interaction), model.n_users, model.n_items)

    monkeypatch.setattr(model.objective, "touched", whole)
    assert few.item() > 0
    total, by_all = losses(model, batch, state)
    assert gathered and gathered[0] < model.n_items
    torch.testing.assert_close(few, total)
    assert by_few.keys() == by_all.keys()
    for name, gradient in by_all.items():
        torch.testing.assert_close(by_few[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


def test_tables_are_gathered_once_for_all_losses_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gathering has a gradient as large as its table."""
    monkeypatch.setattr(objective, "worthwhile", lambda n_touched, n_items: True)
    model, _, loader = build(tmp_path, "PaInvRL", n_negatives=6)
    to_final(model)
    found = model.train().calculate_loss(next(iter(loader)))
    assert len(found) == 2
    nodes, waiting = set(), [sum(found).grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            waiting += [before for before, _ in node.next_functions]
    assert sum("Embedding" in node.name() for node in nodes) == 2  # users and items


def test_a_model_with_one_loss_draws_as_it_does_on_all_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether items are gathered changes no draw, and so no result beyond rounding."""
    model, _, loader = build(tmp_path, "ERM", n_negatives=6)
    batch, state = next(iter(loader)), torch.Generator().manual_seed(3).get_state()
    found = []
    for gathers in (True, False):
        monkeypatch.setattr(objective, "worthwhile", lambda n_touched, n_items, gathers=gathers: gathers)
        found.append(losses(model, batch, state))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-7)


def test_shares_of_a_batch_add_up(built: tuple[Any, Any]) -> None:
    """Two processes draw the same candidates, which alone stand for all items in the attention."""
    model, batch = built
    state = torch.Generator().manual_seed(3).get_state()
    whole, _ = losses(model, batch, state)
    parts = [Ranks(rank, 2).part(batch) for rank in range(2)]
    total = sum(weight * losses(model, part, state)[0] for part, weight in parts)
    torch.testing.assert_close(total, whole)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ERM", {"n_negatives": 0}),
        ("ERM", {"n_negatives": 1000}),
        ("ERM", {"n_negatives": 6, "backbone": "lightgcn"}),
        ("UltraGCN", {"n_negatives": 6}),
        ("UltraGCN", {"n_negatives": 6, "rec_loss": "softmax", "graph_weight": 0.5, "graph_neighbors": 3}),
    ],
)
def test_steps_that_need_all_items_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, keys: dict[str, Any]
) -> None:
    """All items compete; propagation reaches them all; other losses; a term on neighbors."""
    monkeypatch.setattr(objective, "worthwhile", lambda n_touched, n_items: True)
    model, _, loader = build(tmp_path, name, **keys)
    assert model.touched(next(iter(loader))) is None

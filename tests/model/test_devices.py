"""What a GPU would find fault with, without one: steps on torch's device ``meta``, which has no numbers to give away.

Whoever asks it for a number, or for how many different ones there are, gets an error where a GPU would be waited for;
and so does who adds it to a tensor of the host, or sets the two side by side (products with it pass).
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_painvrl.model import objective
from recbole_painvrl.randomness import fill_normal, generator
from tests.model.models import OURS, build, to_final

META = torch.device("meta")
KEYS: list[dict[str, Any]] = [
    {"n_negatives": 6, "id_dropout": 0.3},
    {"backbone": "lightgcn", "temperature": 0.2},
    {"rec_loss": "bpr", "n_negatives": 4},
    {"rec_loss": "ultragcn", "n_negatives": 4},
]
CASES = [(name, {}) for name in OURS] + [(name, keys) for name in ("ERM", "PaInvRL") for keys in KEYS]


class Values:
    """A sparse product of which only the values are asked."""

    def __init__(self, values: Tensor) -> None:
        self._values = values

    def values(self) -> Tensor:
        return self._values


def sampled_product(pattern: Tensor, left: Tensor, right: Tensor, beta: float) -> Values:
    assert left.device == right.device == pattern.device == META and left.shape[1] == right.shape[0]
    return Values(torch.empty(pattern.values().shape, device=META))


def on_meta(batch: Interaction) -> Interaction:
    """A batch as a trainer moves it: the host keeps its copy."""
    moved = Interaction({name: column.to(META) for name, column in batch.interaction.items()})
    moved.host = batch
    return moved


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts something in the place of the two things that torch does not support on ``meta``."""
    monkeypatch.setattr(torch.sparse, "sampled_addmm", sampled_product)
    monkeypatch.setattr(torch, "autocast", lambda *given, **more: nullcontext())


@pytest.mark.parametrize(("name", "keys"), CASES, ids=lambda part: part if isinstance(part, str) else "-".join(part))
def test_a_step_asks_its_device_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, keys: dict[str, Any]
) -> None:
    """From the second step of an epoch on: the first may build what the epoch needs."""
    monkeypatch.setattr(objective, "worthwhile", lambda n_touched, n_items: True)
    model, _, loader = build(tmp_path, name, train_batch_size=64, **keys)
    first, second, *_ = loader
    model.before_epoch()
    model.train().calculate_loss(first)
    if name == "PaInvRL":
        to_final(model)
    stand_in(monkeypatch)
    model = model.to(META)
    model.device = META
    losses = model.calculate_loss(on_meta(second))
    (sum(losses) if isinstance(losses, tuple) else losses).backward()
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    assert trained and all(parameter.grad.device == META for parameter in trained)


@pytest.mark.parametrize("what", ["item", "tolist", "unique", "nonzero", "add", "cat"])
def test_meta_finds_fault_with_what_waits_or_mixes(what: str) -> None:
    there, here = torch.ones(2, 2, device=META), torch.ones(2, 2)
    ask = {
        "item": lambda: there.sum().item(),
        "tolist": there.tolist,
        "unique": lambda: torch.unique(there),
        "nonzero": there.nonzero,
        "add": lambda: there + here,
        "cat": lambda: torch.cat([there, here]),
    }
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask[what]()


def test_numbers_do_not_depend_on_the_device() -> None:
    """A table on another device takes what its generator draws, no more and no less."""
    here, there = generator(1, "x"), generator(1, "x")
    fill_normal(torch.empty(3, 4), 0.5, here)
    fill_normal(torch.empty(3, 4, device=META), 0.5, there)
    assert torch.equal(here.get_state(), there.get_state())

"""Our epoch is RecBole's, step for step, and does not wait for a GPU."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import recbole.trainer
import torch
from torch import Tensor

from recbole_painvrl.trainer import loss_watch
from recbole_painvrl.trainer.loss_watch import LossWatch
from recbole_painvrl.trainer.steps import StepsMixin
from tests.model.models import OURS
from tests.trainer.test_run_trainer import STAGES, assert_equal_states, configuration, started, trained


@pytest.mark.parametrize(
    ("model", "keys"),
    [("ERM", {}), ("UltraGCN", {"clip_grad_norm": {"max_norm": 0.01}}), ("PaInvRL", STAGES), ("MGCN", {})],
)
def test_epochs_are_those_of_recboles_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, keys: dict[str, object]
) -> None:
    ours, _ = trained(configuration(model, tmp_path, 3, **keys))
    monkeypatch.setattr(StepsMixin, "_train_epoch", recbole.trainer.Trainer._train_epoch)
    theirs, _ = trained(configuration(model, tmp_path, 3, **keys))
    assert_equal_states(ours.model, theirs.model)
    assert ours.train_loss_dict == theirs.train_loss_dict and len(ours.train_loss_dict) == 3


def test_no_gradients_are_kept_between_epochs(tmp_path: Path) -> None:
    trainer, _ = trained(configuration("ERM", tmp_path, 2))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_clipped_gradients_make_other_steps(tmp_path: Path) -> None:
    free, _ = trained(configuration("ERM", tmp_path, 2))
    clipped, _ = trained(configuration("ERM", tmp_path, 2, clip_grad_norm={"max_norm": 1e-9}, learner="sgd"))
    assert not any(map(torch.equal, free.model.parameters(), clipped.model.parameters()))


class OnGPU:
    """A number that says of itself that it is on a GPU."""

    is_cuda = True

    def __init__(self, value: float) -> None:
        self.value = value

    def detach(self) -> OnGPU:
        return self


def test_a_loss_on_a_gpu_is_looked_at_one_step_later(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[float] = []

    def on_host(loss: OnGPU):
        return lambda: looked.append(loss.value) or loss.value

    monkeypatch.setattr(loss_watch, "on_host", on_host)
    watch = LossWatch()
    watch.begin(0)

    def step(value: float) -> str | None:
        watch.watched(lambda: (torch.tensor(value),))()
        return watch.fault(OnGPU(value))

    assert step(1.0) is None and looked == [] and watch.batch == -1
    assert step(2.0) is None and looked == [1.0] and watch.batch == 0
    assert step(math.nan) is None and looked == [1.0, 2.0]
    assert step(4.0) == "not a number" and watch.batch == 2
    assert math.isnan(watch.parts(("loss",))["loss"])
    watch.begin(1)
    assert step(math.inf) is None and watch.last_fault() == "infinite" and watch.batch == 0
    assert watch.last_fault() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("model", OURS)
def test_steps_on_a_gpu_wait_for_nothing(tmp_path: Path, model: str) -> None:
    """From the second step of an epoch on: the first may build what the epoch needs."""
    trainer, data = started(configuration(model, tmp_path, 2, use_gpu=True), None)
    trainer.eval_collector.data_collect(data.train)
    trainer._train_epoch(data.train, 0)
    steps = 0
    step = trainer._step

    def watched(loss: Tensor, scaler: torch.amp.GradScaler) -> None:
        nonlocal steps
        step(loss, scaler)
        steps += 1
        torch.cuda.set_sync_debug_mode("error" if steps < len(data.train) else "default")

    trainer._step = watched
    try:
        trainer._train_epoch(data.train, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps == len(data.train) > 2

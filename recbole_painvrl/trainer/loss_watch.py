"""Looking at every step's loss, so that a training that went wrong ends at once and says where."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

# how many times the first step's loss (at least 1) a later one may be: no loss of a working training comes near
EXPLODED = 1e6


class LossWatch:
    """Counts the steps of an epoch and knows the parts of the loss that was looked at last.

    A loss on a GPU is looked at one step later: looking at once would wait for the step that has just been launched.

    Attributes:
        epoch: The present epoch.
        batch: Number of the step in it that was looked at last, counted from 0; -1 before the first.
    """

    def __init__(self) -> None:
        self.epoch = self.batch = -1
        self._first: float | None = None
        self._computed: tuple[Any, ...] = ()
        self._parts: tuple[Any, ...] = ()
        self._waiting: list[tuple[Callable[[], float], tuple[Any, ...]]] = []

    def begin(self, epoch: int) -> None:
        """Notes that an epoch begins."""
        self.epoch, self.batch, self._parts = epoch, -1, ()
        self._waiting.clear()

    def watched(self, loss_func: Callable[..., Any]) -> Callable[..., Any]:
        """Returns ``loss_func``, whose latest result this then knows in parts."""

        def compute(*args: Any, **kwargs: Any) -> Any:
            losses = loss_func(*args, **kwargs)
            self._computed = tuple(part.detach() for part in (losses if isinstance(losses, tuple) else (losses,)))
            return losses

        return compute

    def fault(self, loss: torch.Tensor) -> str | None:
        """Notes one step; returns what is wrong with its loss: ``not a number``, ``infinite`` or ``exploding``.

        A loss explodes when it is :data:`EXPLODED` times as large as the first one was. On a GPU the answer is that of
        the step before.
        """
        self._waiting.append((on_host(loss.detach()), self._computed))
        return self._look() if len(self._waiting) > int(loss.is_cuda) else None

    def last_fault(self) -> str | None:
        """Returns what is wrong with the loss of the epoch's last step if that has not been looked at, as on a GPU."""
        return self._look() if self._waiting else None

    def _look(self) -> str | None:
        value, self._parts = self._waiting.pop(0)
        self.batch += 1
        size = abs(value())
        if math.isnan(size):
            return "not a number"
        if math.isinf(size):
            return "infinite"
        self._first = max(1.0, size) if self._first is None else self._first
        return "exploding" if size > EXPLODED * self._first else None

    def parts(self, names: Sequence[str]) -> dict[str, float]:
        """Returns the parts of the loss that was looked at last; ``names`` is used if it names as many as there are."""
        if len(names) != len(self._parts):
            names = [f"train_loss{index}" for index in range(1, len(self._parts) + 1)]
        return {name: float(part) for name, part in zip(names, self._parts, strict=True)}


def on_host(value: torch.Tensor) -> Callable[[], float]:
    """Returns what reads a number; of one on a GPU the copy is begun now, and nothing launched later is waited for."""
    if not value.is_cuda:
        return lambda: float(value)
    copy = torch.empty((), dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> float:
        copied.synchronize()
        return float(copy)

    return read


def culprits(parts: dict[str, float]) -> str:
    """Returns the parts of a faulty loss that are to blame, as a text: what is not finite, or else the largest one."""
    if not parts:
        return ""
    wrong = [name for name, value in parts.items() if not math.isfinite(value)]
    named = wrong or [max(parts, key=lambda name: abs(parts[name]))]
    return ", ".join(f"{name} {parts[name]:.6g}" for name in named)


def broken_parameters(model: torch.nn.Module) -> list[str]:
    """Returns the names of the parameters that hold a value that is not finite."""
    return [name for name, value in model.named_parameters() if not _finite(value.detach())]


def _finite(value: torch.Tensor) -> bool:
    # a sum needs no table of truth values; it may overflow although all is well, so that only then each value is seen
    return bool(torch.isfinite(value.sum())) or bool(torch.isfinite(value).all())

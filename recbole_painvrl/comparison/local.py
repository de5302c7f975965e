"""Runs on this machine: in this process or in several, by cores, GPUs and what the user asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from recbole_painvrl.comparison.cores import shares
from recbole_painvrl.comparison.in_process import InProcess
from recbole_painvrl.comparison.processes import Processes


def local_runner(
    n_runs: int, asked: int | None, settings: Sequence[Mapping[str, Any]], missing: bool = True
) -> InProcess | Processes:
    """Returns what makes runs here.

    Args:
        n_runs: How many there are, done or not.
        asked: How many at once; None for a number that suits the machine.
        settings: The configurations of the runs, or one that stands for all.
        missing: Whether there is a run to make.
    """
    chosen = any(one["gpu_id"] for one in settings)
    devices = _devices() if wants_gpu(settings) else []
    slots, threads = shares(n_runs, asked, 1 if chosen and devices else len(devices))
    if slots == 1 or not missing:
        return InProcess()
    return Processes(slots, threads, () if chosen else devices)


def wants_gpu(settings: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether one of the configurations takes a GPU where there is one."""
    return any(one["use_gpu"] and one["gpu_id"] != "" for one in settings)


def _devices() -> list[str]:
    """Returns the GPUs that this process may use, by the names that ``CUDA_VISIBLE_DEVICES`` takes."""
    if not torch.cuda.is_available():
        return []
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible or [str(number) for number in range(torch.cuda.device_count())]

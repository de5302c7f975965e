"""How many runs at once, and with how many threads each."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Returns the cores that this process may use: its affinity, or less if its container has a smaller share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(cores)))


def _quota(cores: int) -> int:
    """Returns the whole cores of the control group's quota, ``cores`` if it has none. Source: Linux's cgroup-v2."""
    try:
        quota, period = _QUOTA.read_text().split()
        return cores if quota == "max" else int(quota) // int(period)
    except (OSError, ValueError):
        return cores


def wanted_threads() -> int | None:
    """Returns the threads that the user wants each process to have (``OMP_NUM_THREADS``), None if nothing is said."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def shares(n_runs: int, asked: int | None, n_devices: int) -> tuple[int, int]:
    """Returns how many of ``n_runs`` runs to make at once and the threads of each.

    Unless ``asked`` says it: one for each GPU, or, without one, for each core; for every ``OMP_NUM_THREADS`` cores if
    that is set. Both follow from all runs of a comparison, done or not: a run that is continued has the threads that it
    began with, for their number changes the last digits of sums.
    """
    cores, wanted = usable_cores(), wanted_threads()
    slots = min(n_runs, asked or n_devices or max(1, cores // (wanted or 1)))
    share = max(1, cores // slots)
    return slots, min(wanted or share, share)

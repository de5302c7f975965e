"""One random generator a purpose, derived from the run's seed and the purpose's name.

Adding a consumer of randomness then never changes the numbers another one draws, and no function needs the global
generators. The idea is DomainBed's (seed hashing in its ``misc.seed_hash``).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.deterministic

from recbole_painvrl.checkpoint import random_states, set_random_states

_DETERMINISTIC: Any = torch.utils.deterministic  # its switch carries no type


def derive_seed(seed: int, purpose: str) -> int:
    """Returns a seed in [0, 2**63) that depends on ``seed`` and on the name ``purpose`` alone."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Returns a generator on ``device`` seeded for ``purpose``."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, purpose))


@torch.no_grad()
def fill_normal(table: torch.Tensor, deviation: float, source: torch.Generator) -> None:
    """Fills a tensor, on any device, with the numbers from N(0, deviation^2) that ``source`` draws on its own.

    The same numbers for every device: a model that is drawn anew on a GPU gets those that it would get on the CPU.
    """
    if table.device == source.device:
        table.normal_(0.0, deviation, generator=source)
    else:
        drawn = torch.empty(table.shape, dtype=table.dtype, device=source.device)
        table.copy_(drawn.normal_(0.0, deviation, generator=source))


def repeat_on(device: torch.device, wanted: bool) -> None:
    """Makes a GPU add in a fixed order, so that the same seed gives the same result there too; a CPU does anyway.

    An operation that cannot do so says it by a warning and goes on. cuBLAS asks the environment variable when it is
    first used, so this has to come before the first product.

    Args:
        device: Where training takes place.
        wanted: RecBole's key ``reproducibility``.
    """
    ordered = wanted and device.type == "cuda"
    if ordered:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _add_in_order(ordered, warn_only=True)
    _DETERMINISTIC.fill_uninitialized_memory = not ordered  # nothing here reads what it has not written


@contextmanager
def generators_kept() -> Iterator[None]:
    """Puts the global generators back at its end, and how sums and cuDNN's choices are made: a run sets them.

    What RecBole itself draws (splits, negatives, initial values of its models) comes from the global generators.
    """
    states, cudnn = random_states(), torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    ordered, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = _DETERMINISTIC.fill_uninitialized_memory
    try:
        yield
    finally:
        set_random_states(states)
        cudnn.benchmark, cudnn.deterministic = flags
        _add_in_order(ordered, warn_only=warns)
        _DETERMINISTIC.fill_uninitialized_memory = fills


def _add_in_order(wanted: bool, warn_only: bool) -> None:
    """Sets torch's switch where it is not set so already: setting it imports torch's compiler, 70 MB and a second."""
    found = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if (found[0] or wanted) and found != (wanted, warn_only):
        torch.use_deterministic_algorithms(wanted, warn_only=warn_only)

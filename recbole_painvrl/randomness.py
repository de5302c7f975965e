"""One random generator a purpose, derived from the run's seed and the purpose's name.

Adding a consumer of randomness then never changes the numbers another one draws, and no function needs the global
generators. The idea is DomainBed's (seed hashing in its ``misc.seed_hash``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from recbole_painvrl.checkpoint import random_states, set_random_states


def derive_seed(seed: int, purpose: str) -> int:
    """Returns a seed in [0, 2**63) that depends on ``seed`` and on the name ``purpose`` alone."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Returns a generator on ``device`` seeded for ``purpose``."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, purpose))


@contextmanager
def generators_kept() -> Iterator[None]:
    """Puts the global generators back at its end, and how cuDNN chooses: RecBole sets them for each run.

    What RecBole itself draws (splits, negatives, initial values of its models) comes from the global generators.
    """
    states, cudnn = random_states(), torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    try:
        yield
    finally:
        set_random_states(states)
        cudnn.benchmark, cudnn.deterministic = flags

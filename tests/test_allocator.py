"""Freed memory is kept between steps, and goes back where a stage says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recbole_painvrl.allocator import keep_freed_memory


def test_freed_memory_can_be_kept_twice() -> None:
    """The call may be repeated and says the same each time."""
    assert keep_freed_memory() == keep_freed_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_memory_is_returned_when_told() -> None:
    """A program keeps what it frees below something that it still uses, until it says so."""
    program = """
import torch
from pathlib import Path
from recbole_painvrl.allocator import keep_freed_memory, return_freed_memory
def held():
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line).split()[1])
told = keep_freed_memory()
before = held()
large = [torch.ones(2**20) for _ in range(50)]
kept = torch.ones(2**10)
del large
freed = held()
return_freed_memory()
print(int(told), freed - before, held() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told, freed, returned = map(int, done.stdout.split())
    if not told:
        pytest.skip("no glibc here")
    assert freed > 150_000 and returned < 50_000  # kB of 200,000

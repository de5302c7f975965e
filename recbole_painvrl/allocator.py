"""Keeps glibc from handing large buffers back to the kernel between steps, and has it do so between stages."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_HEAP_BLOCK = 1 << 30  # bytes; a larger tensor still gets pages of its own, which its release gives back
_LARGEST_KEPT_TAIL = (1 << 31) - 1  # bytes; the largest value that the C ``int`` of mallopt holds


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory in the process; returns whether it could be told.

    By default glibc serves large tensors by ``mmap`` and unmaps them when they are freed, so every training step pays
    again for zeroed pages. Keeping them makes steps cheaper, most those that gather large temporary tensors (measured
    by ``benchmarks/step.py``). The price is that stages with buffers of different sizes add up, but for
    :func:`return_freed_memory` between them. The setting holds for the whole process and cannot be undone, so programs
    call it, and no module does at import. Systems without glibc (musl, macOS, Windows) are left as they are.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK), (_M_TRIM_THRESHOLD, _LARGEST_KEPT_TAIL))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def return_freed_memory() -> None:
    """Hands back what a stage has freed, where the next one needs buffers of other sizes; on glibc only.

    Freed pieces between others that are still in use cannot serve a larger buffer, so that without this the memory of
    a process is nearly the sum of its stages' peaks instead of the largest of them (measured by
    ``benchmarks/paper_size.py``). The next stage faults its pages in once.

    Source: malloc_trim(3).
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
        trim(0)


def _of_glibc(name: str) -> Any:
    """Returns a function of the C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None

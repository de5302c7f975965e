"""Keeps glibc from handing large buffers back to the kernel, only to fault the same pages in again a step later."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_HEAP_BLOCK = 1 << 30  # bytes; a larger tensor still gets pages of its own, which its release gives back
_LARGEST_KEPT_TAIL = (1 << 31) - 1  # bytes; the largest value that the C ``int`` of mallopt holds


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory in the process; returns whether it could be told.

    By default glibc serves large tensors by ``mmap`` and unmaps them when they are freed, so every training step pays
    again for zeroed pages. Keeping them makes steps cheaper, most those that gather large temporary tensors (measured
    by ``benchmarks/step.py``). The price is that the process keeps the peak of its memory until it ends. The setting
    holds for the whole process and cannot be undone, so programs call it, and no module does at import. Systems without
    glibc (musl, macOS, Windows) are left as they are.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK), (_M_TRIM_THRESHOLD, _LARGEST_KEPT_TAIL))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])

"""Where the features of all items are held: in memory, or in a file that is mapped into it. I items, D columns."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.errors import UserError

MODES = ("auto", "mmap", "ram")
FITTING_SHARE = 0.5  # of the memory that is free; the rest is for parameters, optimizer and batches


def blank_matrix(shape: tuple[int, int], mode: str, folder: Path) -> NDArray[Any]:
    """Returns float32 zeros [I, D] to be filled.

    A mapped matrix is in a nameless file that ends with the process. The system keeps in memory what of it there is
    room for, and writes the rest to the disk.

    Args:
        shape: I and D.
        mode: ``ram``, ``mmap``, or ``auto``: mapped if it takes more than half of the free memory.
        folder: Where the file goes if it can be written, else the system's folder of temporary files.

    Raises:
        UserError: The disk has no room for it.
    """
    size = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    if not size or mode == "ram" or (mode == "auto" and size <= FITTING_SHARE * free_memory()):
        return np.zeros(shape, dtype=np.float32)
    place = folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            if hasattr(os, "posix_fallocate"):  # a hole in the file would end the process when the disk is full
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"feature_memory: {place} has no room for {size / 1e9:.1f} GB of features ({reason}); free some, or say ram"
        ) from error


def free_memory() -> int:
    """Returns the bytes of memory that a new process could have without pushing others out."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    except (OSError, StopIteration):
        # elsewhere than on Linux there is no such figure without another library: take all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**62

"""Neighbors of items by content, kept on disk for the next run on the same features.

The file's name is a digest of the features themselves and of k, so other features never meet an old graph. What is
stored are neighbors and cosines, of which binary, weighted and normalized graphs follow.

Letters: I items, D feature width, k neighbors.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from contextlib import suppress
from logging import getLogger
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file
from recbole_painvrl.model.content_graph import content_neighbors

KIND = "cosine neighbors, itself first, version 1"
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


def cached_neighbors(features: Tensor, n_neighbors: int, folder: str | Path) -> tuple[Tensor, Tensor]:
    """Returns what :func:`content_neighbors` finds, from ``folder`` if it is there, and leaves it there if it can.

    A file that cannot be read or does not fit is made anew with a warning; a folder that cannot be written to is no
    error, as the next run can find the neighbors again.

    Args:
        features: Item features [I, D].
        n_neighbors: k, the item itself counted.
        folder: Where graphs are kept; made if it is missing.
    """
    path = Path(folder) / f"neighbors-{digest(features, n_neighbors)}.npz"
    stored = _read(path, (len(features), n_neighbors))
    if stored is not None:
        return stored
    index, cosine = content_neighbors(features, n_neighbors)
    _write(path, index, cosine)
    return index, cosine


def digest(features: Tensor, n_neighbors: int) -> str:
    """Returns the SHA-256 of the features' content and of whatever else the neighbors follow from."""
    table = np.ascontiguousarray(features.detach().cpu().numpy())
    found = hashlib.sha256(f"{KIND};{n_neighbors};{table.dtype};{table.shape};".encode())
    found.update(table.data)
    return found.hexdigest()


def _read(path: Path, shape: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Returns the stored neighbors and cosines, or None where there are none of use."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            index, cosine = stored["index"], stored["cosine"]
        _check(index, cosine, shape)
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        getLogger().warning(f"{path}: not a usable item graph ({reason}); it is built anew")
        return None
    return torch.from_numpy(index), torch.from_numpy(cosine)


def _check(index: np.ndarray, cosine: np.ndarray, shape: tuple[int, int]) -> None:
    """Raises a ValueError if the arrays are no neighbors of so many items."""
    if index.dtype != np.int64 or cosine.dtype.kind != "f" or index.shape != shape or cosine.shape != shape:
        raise ValueError(f"expected neighbors of shape {shape}, found {index.dtype} {index.shape}, {cosine.shape}")
    if index.size and (index.min() < 0 or index.max() >= shape[0]):
        raise ValueError("a neighbor is no item")
    if not ((cosine >= 0) & (cosine <= 1.01)).all():
        raise ValueError("a weight is no cosine")


def _write(path: Path, index: Tensor, cosine: Tensor) -> None:
    with suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            np.savez(file, index=index.cpu().numpy(), cosine=cosine.cpu().numpy())

"""Checkpoints that are plain data: ``torch.load(weights_only=True)`` reads them, so opening one runs no code.

RecBole's checkpoints pickle the ``Config`` object, which torch 2.6 and later refuse to load by default
(https://github.com/RUCAIBox/RecBole/issues/2212), and hold no random state, so that a resumed run is not the run that
was interrupted (https://github.com/RUCAIBox/RecBole/issues/2126).
"""

from __future__ import annotations

import pickle
import random
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file

FORMAT = "recbole_painvrl 1"
KIND = "__kind__"
_ODD = (KeyError, TypeError, AttributeError, IndexError, OverflowError)  # of a file that was changed


def save(path: str | Path, state: Mapping[str, Any]) -> None:
    """Writes ``state`` at once or not at all.

    Args:
        path: The file.
        state: Tensors, arrays, sparse matrices, numbers, texts and containers of them.

    Raises:
        TypeError: A value is none of these.
        UserError: The disk is full.
    """
    packed = {"format": FORMAT, **{key: pack(value, key) for key, value in state.items()}}
    with atomic_file(path) as file:
        torch.save(packed, file)


def load(path: str | Path, mapped: bool = False) -> dict[str, Any]:
    """Returns the state written by :func:`save`, tensors on the CPU.

    Args:
        path: The file.
        mapped: Whether tensors stay in the file until they are looked at, for what copies some of them at once and
            forgets the rest: a checkpoint has the optimizer's two numbers for each of the model's.

    Raises:
        UserError: The file is missing, damaged or not one of ours.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about foreign files, which are refused below
            archive = zipfile.is_zipfile(path)  # torch says of anything else what is wrong with it
            if archive:
                _check_bytes(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and archive)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such model file") from None
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: not a checkpoint of this package; it holds pickled objects (as RecBole's own checkpoints do), "
            "and these are not loaded because they may run code: train the model again with this package"
        ) from None
    except (EOFError, OSError, RuntimeError, ValueError, zipfile.BadZipFile, *_ODD) as error:
        raise UserError(f"{path}: the model file cannot be read ({_first_line(error)}); it may be cut off") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this package (expected format '{FORMAT}')")
    try:
        return {key: unpack(value) for key, value in state.items()}
    except (ValueError, *_ODD) as error:
        raise UserError(f"{path}: the model file is damaged ({type(error).__name__}: {_first_line(error)})") from error


def _check_bytes(path: Path) -> None:
    """Reads the file once, piece by piece, and compares its checksums, as torch does not.

    Raises:
        OSError: The file cannot be read.
        BadZipFile: Its list of parts is damaged.
        ValueError: A part of it is.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged} is another")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def pack(value: Any, name: str = "value") -> Any:
    """Returns ``value`` as the plain data that :func:`unpack` turns back into it.

    Args:
        value: What to store.
        name: What to call it if it cannot be stored.

    Raises:
        TypeError: ``value`` is no plain data.
    """
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.generic):
        return pack(value.item(), name)
    if isinstance(value, np.ndarray):
        return _pack_array(value, name)
    if scipy.sparse.issparse(value):
        return _pack_sparse(value)
    if isinstance(value, Mapping):
        packed = {key: pack(entry, f"{name}.{key}") for key, entry in value.items()}
        return OrderedDict(packed) if isinstance(value, OrderedDict) else packed
    if isinstance(value, list | tuple):
        entries = [pack(entry, f"{name}[{index}]") for index, entry in enumerate(value)]
        return entries if isinstance(value, list) else tuple(entries)
    raise TypeError(f"{name}: a {type(value).__name__} cannot be stored as plain data")


def _pack_array(array: np.ndarray, name: str) -> dict[str, Any]:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: an array of {array.dtype} cannot be stored as plain data")
    raw = torch.from_numpy(np.frombuffer(array.tobytes(), dtype=np.uint8).copy())
    kind = "matrix" if isinstance(array, np.matrix) else "array"
    return {KIND: kind, "dtype": array.dtype.str, "shape": list(array.shape), "bytes": raw}


def _pack_sparse(matrix: scipy.sparse.spmatrix) -> dict[str, Any]:
    coo = matrix.tocoo()
    parts = {name: _pack_array(np.ascontiguousarray(getattr(coo, name)), name) for name in ("row", "col", "data")}
    return {KIND: "sparse", "format": matrix.format, "shape": list(matrix.shape), **parts}


def unpack(value: Any) -> Any:
    """Returns what :func:`pack` was given."""
    if isinstance(value, dict) and KIND in value:
        return {"array": _unpack_array, "matrix": _unpack_matrix, "sparse": _unpack_sparse}[value[KIND]](value)
    if isinstance(value, dict):
        for key in value:  # in place: a state dict keeps its class and its metadata
            value[key] = unpack(value[key])
        return value
    if isinstance(value, list | tuple):
        return type(value)(unpack(entry) for entry in value)
    return value


def _unpack_array(packed: dict[str, Any]) -> np.ndarray:
    flat = np.frombuffer(packed["bytes"].numpy().tobytes(), dtype=np.dtype(packed["dtype"]))
    return flat.reshape(packed["shape"]).copy()


def _unpack_matrix(packed: dict[str, Any]) -> np.matrix:
    return np.asmatrix(_unpack_array(packed))


def _unpack_sparse(packed: dict[str, Any]) -> scipy.sparse.spmatrix:
    row, col, data = (_unpack_array(packed[name]) for name in ("row", "col", "data"))
    return scipy.sparse.coo_matrix((data, (row, col)), shape=packed["shape"]).asformat(packed["format"])


def random_states() -> dict[str, Any]:
    """Returns the states of the process's global generators: Python's, NumPy's, torch's, and CUDA's where in use."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys, position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Sets the process's global generators to the states of :func:`random_states`."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def loader_states(loaders: Mapping[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
    """Returns the states of every ``torch.Generator`` that the named data loaders and their samplers hold."""
    return {name: {key: one.get_state() for key, one in _generators(loader)} for name, loader in loaders.items()}


def set_loader_states(loaders: Mapping[str, Any], states: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Sets the generators of the data loaders to the states of :func:`loader_states`."""
    for name, loader in loaders.items():
        for key, one in _generators(loader):
            if key in states.get(name, {}):
                one.set_state(states[name][key])


def _generators(loader: Any) -> list[tuple[str, torch.Generator]]:
    holders = {"loader": loader, **{name: getattr(loader, name, None) for name in ("sampler", "_sampler")}}
    return [
        (f"{place}.{key}", value)
        for place, holder in holders.items()
        for key, value in getattr(holder, "__dict__", {}).items()
        if isinstance(value, torch.Generator)
    ]

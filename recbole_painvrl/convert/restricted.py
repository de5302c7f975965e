"""Readers of pickled files that build plain data only and never run what the file says.

The published sets hold pickled object arrays (``.npy``), pickled scipy matrices (``.pkl``) and torch tensors (``.pt``).
Unpickling imports and calls any name that the file asks for, so here only the few names that such data need are known,
and most of these are answered by small functions of this module. Anything else is refused before it is imported.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import DAMAGED_ARRAY

# What a damaged pickle can raise besides being refused.
DAMAGED = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, ValueError, TypeError,
    OverflowError, MemoryError, RecursionError, struct.error, OSError, RuntimeError,
)  # fmt: skip


class SparseState:
    """Stands in for a scipy matrix: it only holds the attributes that the file sets, no code of scipy runs."""


class CooState(SparseState):
    """The attributes of a pickled ``coo_matrix``."""


class CsrState(SparseState):
    """The attributes of a pickled ``csr_matrix``."""


class CscState(SparseState):
    """The attributes of a pickled ``csc_matrix``."""


class _ArrayType:
    """Stands in for ``numpy.ndarray``, which pickled arrays name but need not be able to call."""


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """Returns the empty array that a pickled array is filled into; the file's arguments are constants in practice."""
    if kind is not _ArrayType or shape != (0,):
        raise pickle.UnpicklingError("an array of an unusual kind")
    return np.ndarray((0,), dtype=np.int8)


def _scalar(dtype: np.dtype, raw: bytes) -> Any:
    """Returns the numpy scalar of ``dtype`` with the bytes ``raw``."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(raw, bytes):
        raise pickle.UnpicklingError("a scalar that is no plain number")
    return np.frombuffer(raw, dtype=dtype, count=1)[0]


def _frombuffer(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Returns the array of numbers that protocol 5 writes as its bytes."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError("an array that is not of plain numbers")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)  # type: ignore[call-overload]  # C or F


def _encode(text: str, encoding: str) -> bytes:
    """Returns the bytes that protocol 2 writes as Latin-1 text; no other codec, because those are found by import."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes in an unusual coding")
    return text.encode("latin-1")


KNOWN_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): np.dtype,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,  # its name in protocol 2
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    **{(f"scipy.sparse.{module}", "coo_matrix"): CooState for module in ("coo", "_coo")},
    **{(f"scipy.sparse.{module}", "csr_matrix"): CsrState for module in ("csr", "_csr")},
    **{(f"scipy.sparse.{module}", "csc_matrix"): CscState for module in ("csc", "_csc")},
}


class RefusedNameError(pickle.UnpicklingError):
    """The file asks for a name that plain data do not need."""


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickles arrays, numbers, lists, dicts, sets and the attributes of scipy matrices, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for ``module.name``.

        Raises:
            RefusedNameError: if the name is not one of ``KNOWN_NAMES``.
        """
        if (module, name) not in KNOWN_NAMES:
            raise RefusedNameError(f"{module}.{name}")
        return KNOWN_NAMES[module, name]


def unpickle(handle: BinaryIO, path: Path) -> Any:
    """Returns the plain data pickled at the position of ``handle``.

    Raises:
        UserError: if the file asks for anything but plain data, or is damaged.
    """
    try:
        # Latin-1 is what arrays that Python 2 pickled need; it changes nothing for those of Python 3.
        return RestrictedUnpickler(handle, encoding="latin1").load()
    except RefusedNameError as error:
        raise UserError(
            f"{path}: refused, unpickling it would run '{error}', which plain data do not need; "
            "nothing was run. Get the file from a source you trust"
        ) from error
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read as pickled plain data ({_one_line(error)}); is it whole?") from error


def load_object_array(path: Path) -> np.ndarray:
    """Returns the array of a ``.npy`` file whose entries may be Python lists, sets or dicts.

    Raises:
        UserError: if the file is no ``.npy`` file, is damaged or asks for anything but plain data.
    """
    with open(path, "rb") as handle:
        _, _, dtype = _header(handle, path)
        if not dtype.hasobject:
            return np.asarray(open_matrix(path))
        array = unpickle(handle, path)
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: expected a pickled array, found a {type(array).__name__}")
    return array


def _header(handle: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, order and dtype of an open ``.npy`` file and leaves it at the first byte of the data."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(handle)
        if version not in readers:
            raise UserError(f"{path}: format version {version} of .npy is not known here, expected (1, 0) or (2, 0)")
        return readers[version](handle)
    except DAMAGED_ARRAY as error:
        raise UserError(f"{path}: not a .npy file ({_one_line(error)})") from error


def open_matrix(path: Path) -> np.ndarray:
    """Returns the numbers of a ``.npy`` file mapped from disk; an object array is refused, so nothing is unpickled.

    Raises:
        UserError: if the file is no ``.npy`` file, is cut off or holds Python objects.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except DAMAGED_ARRAY as error:
        raise UserError(f"{path}: cannot be read as a .npy array of numbers ({_one_line(error)})") from error


def load_tensor(path: Path) -> np.ndarray:
    """Returns the one tensor of a ``.pt`` file as an array, old (not zip) files included.

    Raises:
        UserError: if the file holds anything but one tensor of numbers.
    """
    import torch  # here, because only this format needs it and it is slow to import

    try:
        tensor = torch.load(path, weights_only=True, map_location="cpu")
    except DAMAGED as error:
        raise UserError(f"{path}: refused, it holds more than plain tensors or is damaged; nothing was run") from error
    if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.dtype == torch.bfloat16:
        raise UserError(f"{path}: expected one dense tensor of numbers, found {type(tensor).__name__}")
    return tensor.detach().numpy()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

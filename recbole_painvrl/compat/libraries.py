"""What numpy, scipy and torch dropped and RecBole 1.2.1 still uses, put back where it is missing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch

# RecBole's Config sets the names without an underscore from those with one, and its metrics, Interaction and Dataset
# read them at run time; numpy 1.24 removed the former and numpy 2.0 the latter.
NUMPY_ALIASES: Mapping[str, type] = {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "bool": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
}
_AMP_MESSAGE = r"`torch\.cuda\.amp\.(GradScaler|autocast)\(args\.\.\.\)` is deprecated"
_AMP_MODULE = r"recbole\.trainer\.trainer"


@dataclass(frozen=True)
class Repair:
    """One break of a library and its repair.

    Attributes:
        name: Short name, shown by ``recbole-painvrl doctor``.
        breaks: What fails without the repair.
        upstream: Where the break is known.
        needed: Tells whether the piece is missing now.
        mend: Puts the piece back; harmless when called again.
    """

    name: str
    breaks: str
    upstream: str
    needed: Callable[[], bool]
    mend: Callable[[], None]


def _numpy_aliases_missing() -> bool:
    # vars(), because numpy 1.26 warns or raises when asked for a removed name by getattr.
    return any(alias not in vars(np) for alias in NUMPY_ALIASES)


def _restore_numpy_aliases() -> None:
    for alias, target in NUMPY_ALIASES.items():
        if alias not in vars(np):
            setattr(np, alias, target)


def _dok_update_missing() -> bool:
    return not hasattr(scipy.sparse.dok_matrix, "_update")


def _dok_update(matrix: scipy.sparse.dok_matrix, entries: Mapping[tuple[int, int], float]) -> None:
    """Takes over ``entries``, a mapping (row, column) -> value, without checking indices, as scipy below 1.13 did."""
    matrix._dict.update(entries)


def _restore_dok_update() -> None:
    if _dok_update_missing():
        scipy.sparse.dok_matrix._update = _dok_update


def _amp_filter_missing() -> bool:
    return not any(
        action == "ignore" and module is not None and module.pattern == _AMP_MODULE
        for action, _, _, module, _ in warnings.filters
    )


def _silence_amp() -> None:
    if _amp_filter_missing():
        warnings.filterwarnings("ignore", message=_AMP_MESSAGE, category=FutureWarning, module=_AMP_MODULE)


LIBRARY_REPAIRS: tuple[Repair, ...] = (
    Repair(
        "numpy names",
        "Config(), ranking metrics and Interaction use np.float_, np.float ... which numpy 1.24 and 2.0 removed",
        "https://github.com/RUCAIBox/RecBole/issues/2162",
        _numpy_aliases_missing,
        _restore_numpy_aliases,
    ),
    Repair(
        "scipy dok_matrix._update",
        "LightGCN, NGCF, NCL, GCMC, SpectralCF, KGIN and MCCLK fill matrices with a method that scipy 1.13 removed",
        "https://github.com/RUCAIBox/RecBole/issues/2034",
        _dok_update_missing,
        _restore_dok_update,
    ),
    Repair(
        "torch.cuda.amp warning",
        "each training epoch prints a FutureWarning about torch.cuda.amp.GradScaler",
        "https://github.com/RUCAIBox/RecBole/issues/2154",
        _amp_filter_missing,
        _silence_amp,
    ),
)


@contextmanager
def anomaly_detection_kept() -> Iterator[None]:
    """Puts torch's detection of anomalies back as it was; RecBole turns it on by importing its sequential models.

    It looks for NaN in every gradient of every operation and keeps a stack trace of each, in whatever the process
    trains from then on; on a GPU it waits for each of them.

    Source: https://github.com/RUCAIBox/RecBole/blob/v1.2.1/recbole/model/sequential_recommender/sine.py#L25
    """
    before = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(*before)


def apply() -> list[str]:
    """Puts back what is missing in this process; may be called any number of times.

    Returns:
        The names of the repairs that this call made.
    """
    needed = [repair for repair in LIBRARY_REPAIRS if repair.needed()]
    for repair in needed:
        repair.mend()
    return [repair.name for repair in needed]

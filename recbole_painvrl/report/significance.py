"""What several seeds of a model say: mean and deviation, and paired two-sided tests against another model.

This is the one place where the package tests anything. Differences are paired: by user, each user's value averaged over
the seeds, or by seed.

Sources: Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (Scand. J. Statistics 6, 1979); Benjamini and
Hochberg, "Controlling the False Discovery Rate" (JRSS B 57, 1995); Cohen, "Statistical Power Analysis" (1988), section
2.3.5 (d_z).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import DAMAGED_ARRAY
from recbole_painvrl.report.records import PER_USER, PER_USER_RHO, key_at

CONFIDENCE = 0.95
LEVEL = 0.05  # a corrected p below it is a difference
ROUNDING = 1e-12  # a deviation or difference below this share of the values is what floating point leaves of none
Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Paired:
    """A paired comparison: the first model's values less the second's.

    Attributes:
        n: Number of pairs, at least 2.
        difference: Mean difference.
        low: Lower end of its 95 % confidence interval, by the t distribution.
        high: Upper end.
        d_z: Cohen's d_z, the mean difference in units of its standard deviation; None where nothing varies.
        p_t: Two-sided p of the paired t-test; 1 where all differences are 0, None where they are all one other value.
        p_wilcoxon: Two-sided p of Wilcoxon's signed-rank test, pairs without a difference dropped.
    """

    n: int
    difference: float
    low: float
    high: float
    d_z: float | None
    p_t: float | None
    p_wilcoxon: float


def paired(ours: NDArray[Any], theirs: NDArray[Any]) -> Paired | None:
    """Compares the values [n] of two models, pair by pair; None for fewer than two pairs."""
    from scipy.stats import t, wilcoxon  # here, for it takes long to load and mistakes are told without it

    left, right = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    n = len(left)
    if n < 2:
        return None
    differences = _tied(left - right, ROUNDING * float(np.fmax.reduce(np.abs([left, right]), axis=None)))
    if not differences.any():
        return Paired(n, 0.0, 0.0, 0.0, None, 1.0, 1.0)
    middle, deviation = float(differences.mean()), float(differences.std(ddof=1))
    p_wilcoxon = float(wilcoxon(differences).pvalue)
    if deviation <= ROUNDING * abs(middle):
        return Paired(n, middle, middle, middle, None, None, p_wilcoxon)
    error = deviation / np.sqrt(n)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * error)
    p_t = float(2 * t.sf(abs(middle) / error, n - 1))
    return Paired(n, middle, middle - half, middle + half, middle / deviation, p_t, p_wilcoxon)


def _tied(differences: NDArray[Any], noise: float) -> NDArray[Any]:
    """Returns the differences [n], those made equal whose sizes are within ``noise`` of a neighbor's, or of 0.

    Means over seeds that are equal differ in their last bit, and Wilcoxon's ranks would take that bit for an order.
    Neighbors are compared, as rounding would part those on either side of a digit's middle.
    """
    sizes = np.abs(differences)
    order = np.argsort(sizes)
    is_new = ~(np.diff(sizes[order], prepend=0.0) <= noise)  # NaN, which sorts last, stays NaN
    shared = np.concatenate([[0.0], sizes[order][is_new]])
    tied = np.empty_like(sizes)
    tied[order] = shared[np.cumsum(is_new)]
    return np.copysign(tied, differences)


def holm(values: Sequence[float]) -> list[float]:
    """Returns Holm's step-down corrected p-values, in the order of ``values``."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(np.argsort(values, kind="stable")):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Returns the p-values corrected for the false discovery rate, in the order of ``values``."""
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(values)] if len(values) else []


def _arrays(file: Path, *keys: str) -> list[NDArray[Any]] | None:
    """Returns the arrays of these names in a file; None if there is no file, or one of them is not in it."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return [arrays[key] for key in keys] if all(key in arrays for key in keys) else None
    except DAMAGED_ARRAY as error:
        raise UserError(f"{file}: not the record of a run ({error}); make the run again, or leave it out") from error


def _recorded(folder: Path, test_set: str, metric: str, rho: float | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Returns a run's users [n] and their values [n], at its own rho if None; None if it did not record them."""
    own = [f"{test_set}/users"] + ([f"{test_set}/{metric}"] if rho is None else [])
    found = _arrays(folder / PER_USER, *own)
    other = [] if rho is None else _arrays(folder / PER_USER_RHO, key_at(rho, test_set, metric))
    if found is None or other is None:
        return None
    users, values = found + other
    if users.shape != values.shape:
        raise UserError(f"{folder}: the values of {test_set} are not of its users; make the run again, or leave it out")
    return users, values


def user_means(
    folders: Sequence[str | Path], test_set: str, metric: str, rhos: Sequence[float | None] | None = None
) -> dict[str, float] | None:
    """Returns each test user's value, averaged over the runs that have the user; None if a run did not record it.

    Args:
        folders: The runs.
        test_set: Name of the test set.
        metric: Name of the metric.
        rhos: For each run the rho in question; None for the one that the run itself tested, as without ``rhos``.
    """
    at = rhos or [None] * len(folders)
    found = [_recorded(Path(folder), test_set, metric, rho) for folder, rho in zip(folders, at, strict=True)]
    known = [one for one in found if one is not None]
    return averaged(known) if known and len(known) == len(found) else None


def averaged(runs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> dict[str, float]:
    """Returns each user's value, averaged over the runs, users [n] and values [n] each, that have the user."""
    names = np.concatenate([users.astype(str) for users, _ in runs])
    users, places = np.unique(names, return_inverse=True)
    sums = np.bincount(places, np.concatenate([values for _, values in runs]), len(users))
    return dict(zip(users.tolist(), (sums / np.bincount(places, minlength=len(users))).tolist(), strict=True))


def paired_values(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the values [n] of both for the users (or seeds) that both have."""
    shared = sorted(set(ours) & set(theirs))
    return np.array([ours[one] for one in shared]), np.array([theirs[one] for one in shared])


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Returns mean and standard deviation over the seeds."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def per_user(runs: Runs, test_set: str, metric: str) -> dict[tuple[str, str], float]:
    """Returns each test user's value; users of different data sets are different users, seeds of one are averaged.

    Args:
        runs: contents of ``result.json``, each with its ``folder``.
        test_set: name of the test set.
        metric: name of the metric, such as ``recall@20``.
    """
    values: dict[tuple[str, str], float] = {}
    for dataset in dict.fromkeys(run["dataset"] for run in runs):
        folders = [run["folder"] for run in runs if run["dataset"] == dataset]
        found = user_means(folders, test_set, metric) or {}
        values |= {(dataset, user): value for user, value in found.items()}
    return values


def p_value(ours: Runs, theirs: Runs, test_set: str, metric: str) -> str:
    """Returns the p-value of the paired t-test over users, empty for a model against itself or where there is none."""
    if ours is theirs:
        return ""
    left, right = (per_user(runs, test_set, metric) for runs in (ours, theirs))
    return p_text(left, right)


def p_text(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> str:
    """Returns the p-value of the paired t-test over the users that both have, empty where there is none."""
    found = paired(*paired_values(ours, theirs))
    return "" if found is None or found.p_t is None else f"{found.p_t:.2g}"

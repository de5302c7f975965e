"""What several seeds of a model say: mean and deviation, and a paired test over users against another model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

Runs = list[dict[str, Any]]


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Returns mean and standard deviation over the seeds."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def per_user(runs: Runs, test_set: str, metric: str) -> dict[tuple[str, str], float]:
    """Returns each test user's value; users of different data sets are different users, seeds of one are averaged."""
    values: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        with np.load(Path(run["folder"]) / "per_user.npz", allow_pickle=False) as arrays:
            for user, value in zip(arrays[f"{test_set}/users"], arrays[f"{test_set}/{metric}"], strict=True):
                values.setdefault((run["dataset"], str(user)), []).append(float(value))
    return {user: mean(found) for user, found in values.items()}


def p_value(ours: Runs, theirs: Runs, test_set: str, metric: str) -> str:
    """Returns the p-value of the paired two-sided test, empty for a model against itself."""
    if ours is theirs:
        return ""
    left, right = per_user(ours, test_set, metric), per_user(theirs, test_set, metric)
    users = sorted(set(left) & set(right))
    return f"{ttest_rel([left[user] for user in users], [right[user] for user in users]).pvalue:.2g}"

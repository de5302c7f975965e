"""Counts of the sets of a split, and the text that shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.data.splits.table import SETS, TRAIN, Table

Statistics = dict[str, dict[str, float]]
_HEAD = ("set", "interactions", "users", "items", "mean popularity", "cold items", "cold pairs", "cold users")


def describe(table: Table, labels: NDArray[Any]) -> Statistics:
    """Returns the counts of each set that is not empty.

    Args:
        table: The interactions.
        labels: [n] set of each row.

    Returns:
        For each set ``pairs users items`` (rows, different users and items), ``mean_popularity`` (training
        interactions of a row's item, mean over rows), ``cold_items`` (share of its items without training),
        ``cold_pairs`` (share of its rows with such an item) and ``cold_users`` (share of its users without training).
    """
    train = labels == TRAIN
    popularity = np.bincount(table.items[train], minlength=table.n_items)
    activity = np.bincount(table.users[train], minlength=table.n_users)
    found: Statistics = {}
    for number, name in enumerate(SETS):
        rows = labels == number
        if rows.any():
            users, items = np.unique(table.users[rows]), np.unique(table.items[rows])
            found[name] = {
                "pairs": int(rows.sum()),
                "users": len(users),
                "items": len(items),
                "mean_popularity": round(float(popularity[table.items[rows]].mean()), 3),
                "cold_items": round(float((popularity[items] == 0).mean()), 4),
                "cold_pairs": round(float((popularity[table.items[rows]] == 0).mean()), 4),
                "cold_users": round(float((activity[users] == 0).mean()), 4),
            }
    return found


def as_text(statistics: Statistics, dropped: Mapping[str, int]) -> str:
    """Returns the counts as aligned lines, and a line for every reason why interactions were dropped."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for name, counts in statistics.items():
        sizes = (f"{counts[key]:,}" for key in ("pairs", "users", "items"))
        shares = (f"{100 * counts[key]:.1f} %" for key in ("cold_items", "cold_pairs", "cold_users"))
        rows.append((name, *sizes, f"{counts['mean_popularity']:.1f}", *shares))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join(lines + [f"dropped: {number:,} interactions {reason}" for reason, number in dropped.items()])

"""Metrics of groups of positives, from the lists of one evaluation: means, worst group, spread.

A group restricts each user's positives to those in it (hits in the group over positives in the group; all items are
candidates, and items of other groups take their places in the list), and averages over the users that have one. So a
group of users is the case in which all positives of a user are in the same group, and needs no rule of its own.

Letters: P positives, M memberships, G groups, N pairs of a row and a group, K the largest cutoff.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct

from recbole_painvrl.evaluator.lists import Lists
from recbole_painvrl.evaluator.per_user import topk_values

# A mean over fewer users is mostly chance: such a group is reported, but is never the worst and adds no spread.
LEAST_USERS = 10


@dataclass(frozen=True)
class Grouping:
    """Which positives are in which groups.

    Attributes:
        name: such as ``popularity``.
        labels: G names.
        positives: index 0..P-1 of the positive of each membership [M]; a positive may be in several groups or in none.
        groups: index 0..G-1 of its group [M].
    """

    name: str
    labels: tuple[str, ...]
    positives: NDArray[Any]
    groups: NDArray[Any]


def group_values(evaluator: Evaluator, lists: Lists, grouping: Grouping, decimals: int) -> dict[str, Any]:
    """Returns the results of one grouping.

    Args:
        evaluator: gives the metrics.
        lists: what was recommended.
        grouping: the groups; those without a positive are left out.
        decimals: places after the point.

    Returns:
        ``groups`` (label to ``users``, ``pairs`` and each metric), ``worst`` (the least value of each metric),
        ``worst_group`` (whose it is) and ``spread`` (largest minus least); the last three are over groups of at least
        ``LEAST_USERS`` users, and empty without one.
    """
    n_groups = len(grouping.labels)
    member = np.unique(np.stack([grouping.positives, grouping.groups]), axis=1)
    of_row, place = lists.rows[member[0]], lists.places[member[0]]
    cells, cell = np.unique(of_row * n_groups + member[1], return_inverse=True)
    values = topk_values(evaluator, _restricted(cell, place, len(cells), lists.depth)) if len(cells) else {}
    group = cells % n_groups
    users = _distinct_users(lists.users[cells // n_groups], group, n_groups)
    rows, pairs = np.bincount(group, minlength=n_groups), np.bincount(member[1], minlength=n_groups)
    sums = {name: np.bincount(group, value, n_groups) for name, value in values.items()}
    groups = {
        label: {"users": int(users[g]), "pairs": int(pairs[g])}
        | {name: round(float(total[g] / rows[g]), decimals) for name, total in sums.items()}
        for g, label in enumerate(grouping.labels)
        if rows[g]
    }
    return {"groups": groups, **extremes(groups, list(values), decimals)}


def _restricted(cell: NDArray[Any], place: NDArray[Any], n_cells: int, depth: int) -> DataStruct:
    """Returns what metrics read, int [N, K + 1], as if each pair of a row and a group were a user of its own."""
    hits = np.zeros((n_cells, depth + 1), dtype=np.int32)
    listed = place < depth
    hits[cell[listed], place[listed]] = 1
    hits[:, depth] = np.bincount(cell, minlength=n_cells)
    struct = DataStruct()
    struct.set("rec.topk", torch.from_numpy(hits))
    return struct


def _distinct_users(users: NDArray[Any], group: NDArray[Any], n_groups: int) -> NDArray[Any]:
    return np.bincount(np.unique(np.stack([users, group]), axis=1)[1], minlength=n_groups)


def extremes(groups: Mapping[str, Mapping[str, Any]], metrics: list[str], decimals: int) -> dict[str, Any]:
    """Returns ``worst``, ``worst_group`` and ``spread`` of each metric over the groups with enough users."""
    large = {label: found for label, found in groups.items() if found["users"] >= LEAST_USERS}
    if not large:
        return {"worst": {}, "worst_group": {}, "spread": {}}
    least = {name: min(found[name] for found in large.values()) for name in metrics}
    worst = {name: next(label for label in large if large[label][name] == least[name]) for name in metrics}
    most = {name: max(found[name] for found in large.values()) for name in metrics}
    spread = {name: round(most[name] - least[name], decimals) for name in metrics}
    return {"worst": least, "worst_group": worst, "spread": spread}


def groups_csv(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Returns all groups of all test sets as CSV: test_set,grouping,group,users,pairs,metric,value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["test_set", "grouping", "group", "users", "pairs", "metric", "value"])
    for test_set, groupings in groups.items():
        for grouping, content in groupings.items():
            for label, found in content["groups"].items():
                metrics = {name: value for name, value in found.items() if name not in ("users", "pairs")}
                for name, value in metrics.items():
                    writer.writerow([test_set, grouping, label, found["users"], found["pairs"], name, value])
    return text.getvalue()

"""Means over seeds of the groups of users and items, whose bounds may differ from seed to seed as the split does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from recbole_painvrl.report.selection import Selected

Key = tuple[str, str]  # grouping and group
Groups = Mapping[Key, Mapping[str, float]]
ABOUT = "≈"  # before the bounds of a group that are the first seed's, where other seeds have others
_NUMBERS = re.compile(r"-?\d[\d.e+-]*")  # of one quantile, such as 3, 5..8 or -1e-05..0.25


def groups_of(result: Mapping[str, Any], test_set: str) -> Groups:
    """Returns the counts and metrics of each group of a test set; of warm and cold items where no more is recorded."""
    groupings = (result.get("groups") or {}).get(test_set)
    if not groupings:
        parts = (result.get("test_groups") or {}).get(test_set) or {}
        return {("items", name): values for name, values in parts.items()}
    return {(name, group): values for name, found in groupings.items() for group, values in found["groups"].items()}


def group_means(selected: Sequence[Selected], test_set: str) -> list[dict[Key, dict[str, float]]]:
    """Returns for each configuration the means over its seeds of every group's counts and metrics.

    Quantiles of a random split lie elsewhere with each seed. Groups between them are taken by their place where all
    runs have equally many, under the first run's bounds and with :data:`ABOUT` before these.
    """
    every = [groups_of(choice.run.result, test_set) for one in selected for choice in one.choices]
    named = zip(every, common_names(every), strict=True)
    renamed = iter([{names[key]: values for key, values in groups.items()} for groups, names in named])
    return [_means([next(renamed) for _ in one.choices]) for one in selected]


def common_names(runs: Sequence[Groups]) -> list[dict[Key, Key]]:
    """Returns for each run the names of its groups by those that it has itself."""
    found: list[dict[Key, Key]] = [{} for _ in runs]
    for grouping in dict.fromkeys(name for groups in runs for name, _ in groups):
        lists = [[group for name, group in groups if name == grouping] for groups in runs]
        common = _common([names for names in lists if names])
        for names, run in zip(lists, found, strict=True):
            pairs = zip(names, (common or names) if names else [], strict=True)
            run.update({(grouping, own): (grouping, name) for own, name in pairs})
    return found


def _common(lists: Sequence[Sequence[str]]) -> list[str] | None:
    """Returns names for the groups of all runs by their place; None where a place is not the same thing in all."""
    if len({len(names) for names in lists}) > 1:
        return None
    places = [set(names) for names in zip(*lists, strict=True)]
    if not all(len(names) == 1 or _is_quantile(names) for names in places):
        return None
    return [name if len(names) == 1 else ABOUT + name for name, names in zip(lists[0], places, strict=True)]


def _is_quantile(names: Collection[str]) -> bool:
    """Returns whether these are bounds of one quantile, not tokens that happen to be numbers."""
    return all(map(_NUMBERS.fullmatch, names)) and any(".." in name for name in names)


def _means(found: Sequence[Groups]) -> dict[Key, dict[str, float]]:
    keys = dict.fromkeys(key for groups in found for key in groups)
    return {key: _mean([groups[key] for groups in found if key in groups]) for key in keys}


def _mean(groups: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in groups[0] if all(group.get(name) is not None for group in groups)]
    return {name: fmean(group[name] for group in groups) for name in names}

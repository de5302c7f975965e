"""Which items are held out: at random, or by whole clusters; and letting some of their interactions back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.data.splits.table import TRAIN, Table
from recbole_painvrl.errors import UserError


def draw_items(n_items: int, share: float, random: np.random.Generator) -> NDArray[Any]:
    """Draws ``share`` of the items, bool [I], at least one and not all.

    Raises:
        UserError: There are fewer than two items.
    """
    if n_items < 2:
        raise UserError(f"ood_split: {n_items} item cannot be parted into known and new ones")
    number = min(max(1, round(share * n_items)), n_items - 1)
    drawn = np.zeros(n_items, dtype=bool)
    drawn[random.permutation(n_items)[:number]] = True
    return drawn


def draw_clusters(cluster_of_item: NDArray[Any], share: float, random: np.random.Generator) -> list[int]:
    """Draws clusters that together hold about ``share`` of the items.

    Clusters come in random order; one is taken if that brings the share of items nearer to what is asked for. If none
    does, it is the cluster that comes nearest.

    Args:
        cluster_of_item: [I] cluster of each item.
        share: Share of the items.
        random: Source of randomness.

    Returns:
        The clusters, at least one and not all.
    """
    clusters, sizes = np.unique(cluster_of_item, return_counts=True)
    target, taken = share * len(cluster_of_item), 0
    drawn: list[int] = []
    for place in random.permutation(len(clusters)):
        if abs(taken + sizes[place] - target) < abs(taken - target) and len(drawn) < len(clusters) - 1:
            drawn.append(int(clusters[place]))
            taken += int(sizes[place])
    return sorted(drawn) or [int(clusters[np.abs(sizes - target).argmin()])]


def release(
    table: Table, held: NDArray[Any], units: NDArray[Any], keep: float, random: np.random.Generator
) -> NDArray[Any]:
    """Lets some held-out pairs of every unit back into training, so that the unit stays known.

    Args:
        table: The interactions.
        held: [n] rows that are held out; of a pair all or none.
        units: [n] unit of each row, its item or its user.
        keep: Share of a unit's held-out pairs to let back, rounded up; pairs that are in training come first.
        random: Source of randomness.

    Returns:
        Which rows are still held out, bool [n].
    """
    first = table.first_rows[held[table.first_rows]]
    order = first[np.lexsort((random.random(len(first)), table.parts[first] != TRAIN, units[first]))]
    starts = np.searchsorted(units[order], units[order], side="left")
    sizes = np.searchsorted(units[order], units[order], side="right") - starts
    back = order[np.arange(len(order)) - starts < np.ceil(keep * sizes - 1e-9)]
    released = np.zeros(len(table.first_rows), dtype=bool)
    released[table.pairs[back]] = True
    still_held: NDArray[Any] = held & ~released[table.pairs]
    return still_held

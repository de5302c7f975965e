"""Kind ``popularity``: a test set in which every item is about equally frequent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.data.splits.table import Table
from recbole_painvrl.errors import UserError


def hold_uniform(
    table: Table, eligible: NDArray[Any], share: float, cap: float, random: np.random.Generator
) -> NDArray[Any]:
    """Draws pairs so that all items get the same number of them, as far as they have that many.

    Drawing each pair with a probability inverse to its item's popularity gives every item the same expected number.
    Here the number itself is equal: the quota of an item is the same for all but for rare items, of which at most the
    share ``cap`` is taken so that they stay known from training. What an integer quota leaves over goes to random
    items, one each; which pairs of an item are taken is random.

    Args:
        table: The interactions.
        eligible: [n] rows that may be taken; a pair is if all its rows are.
        share: Share of the P pairs to take.
        cap: Largest share of an item's pairs that is taken.
        random: Source of randomness.

    Returns:
        Which rows are held out, bool [n].

    Raises:
        UserError: The cap does not leave enough pairs.

    Source: the intervened test sets of the causal debiasing literature, such as Zheng et al., "Disentangling user
    interest and conformity for recommendation with causal embedding", WWW 2021.
    """
    barred = np.bincount(table.pairs, weights=~eligible, minlength=len(table.first_rows)) > 0
    item_of_pair = table.items[table.first_rows]
    sizes = np.bincount(item_of_pair, minlength=table.n_items)
    free = np.bincount(item_of_pair[~barred], minlength=table.n_items)
    room = np.minimum(np.floor(cap * sizes + 1e-9).astype(np.int64), free)
    target = max(1, round(share * len(item_of_pair)))
    if room.sum() < target:
        raise UserError(
            f"ood_split.share: {share} of {len(item_of_pair)} pairs is {target}, but with cap {cap} only "
            f"{room.sum()} can be taken; lower share or raise cap"
        )
    quota = _fill(room, target, random)
    key = np.where(barred, 2.0, random.random(len(barred)))
    chosen = _rank(item_of_pair, key) < quota[item_of_pair]
    rows: NDArray[Any] = chosen[table.pairs]
    return rows


def _fill(room: NDArray[Any], target: int, random: np.random.Generator) -> NDArray[Any]:
    """Returns quotas [I] that add up to ``target``, as equal as ``room`` [I] allows."""
    low, high = 0, int(room.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(room, middle).sum() <= target else (low, middle - 1)
    quota: NDArray[Any] = np.minimum(room, low)
    wanting = np.flatnonzero(room > low)
    quota[random.permutation(wanting)[: target - quota.sum()]] += 1
    return quota


def _rank(groups: NDArray[Any], key: NDArray[Any]) -> NDArray[Any]:
    """Returns the rank, from 0, of each entry among those of its group when sorted by ``key``."""
    order = np.lexsort((key, groups))
    starts = np.searchsorted(groups[order], groups[order], side="left")
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - starts
    return ranks

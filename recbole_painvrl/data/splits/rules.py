"""What holds for every kind: no leakage between sets, users that can be ranked for, a validation set of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.data.splits.table import DROPPED, TEST_OOD, TRAIN, VALID_OOD, Table
from recbole_painvrl.errors import UserError


@dataclass(frozen=True)
class Assigned:
    """Where each interaction went.

    Attributes:
        labels: [n] set of each row, a position in :data:`SETS` or ``DROPPED``.
        dropped: Rows that are in no set, by reason.
    """

    labels: NDArray[Any]
    dropped: dict[str, int]


def assign_sets(
    table: Table,
    held: NDArray[Any],
    takeable: NDArray[Any],
    whole_items: bool,
    keep_cold_users: bool,
    validation_share: float,
    random: np.random.Generator,
) -> Assigned:
    """Makes disjoint sets of what a kind holds out.

    Args:
        table: The interactions.
        held: [n] rows that the kind holds out.
        takeable: [n] rows of the sets that may be taken from. Others stay where they are, or are dropped if whole items
            are held out.
        whole_items: Whether items are held out with all their interactions; a validation set then has items of its own.
        keep_cold_users: Whether rows are kept of users without any row left in training: those held out, and those in
            validation and test if it was the split that took their training.
        validation_share: Share of the held-out rows for the validation set of its own.
        random: Source of randomness.

    Raises:
        UserError: Nothing is left to train on or to test on.
    """
    labels = table.parts.astype(np.int8).copy()
    dropped: dict[str, int] = {}
    if whole_items:
        _drop(labels, held & ~takeable, "of held-out items in other sets", dropped)
    chosen = held & takeable
    labels[chosen] = TEST_OOD
    outside = np.bincount(table.pairs, weights=(labels >= 0) & ~chosen, minlength=len(table.first_rows)) > 0
    _drop(labels, chosen & outside[table.pairs], "whose pair is in another set too", dropped)
    if not keep_cold_users:
        _drop(labels, _without_training(table, labels), "of users without training", dropped)
    _check(labels, dropped)
    if validation_share > 0:
        unit = table.items if whole_items else table.pairs
        labels[_draw_validation(unit, labels == TEST_OOD, validation_share, random)] = VALID_OOD
    return Assigned(labels, dropped)


def _drop(labels: NDArray[Any], rows: NDArray[Any], reason: str, dropped: dict[str, int]) -> None:
    """Takes rows out of every set."""
    if rows.any():
        labels[rows] = DROPPED
        dropped[reason] = int(rows.sum())


def _without_training(table: Table, labels: NDArray[Any]) -> NDArray[Any]:
    """Returns the rows, bool [n], that cannot be ranked for because nothing of their user is left in training."""
    now, before = np.zeros((2, table.n_users), dtype=bool)
    now[table.users[labels == TRAIN]] = True
    before[table.users[table.parts == TRAIN]] = True
    taken = before[table.users] | (labels == TEST_OOD)
    unranked: NDArray[Any] = (labels >= 0) & taken & ~now[table.users]
    return unranked


def _check(labels: NDArray[Any], dropped: dict[str, int]) -> None:
    """Raises if there is nothing to train on, or nothing to test on."""
    why = "; ".join(f"{number} interactions {reason} were dropped" for reason, number in dropped.items())
    if not (labels == TRAIN).any():
        raise UserError("ood_split: no interaction is left for training; hold out less" + (f" ({why})" if why else ""))
    if not (labels == TEST_OOD).any():
        hint = f" ({why}); keep them by cold_users: keep, or hold out otherwise" if why else "; hold out more"
        raise UserError(f"ood_split: the test set test_ood is empty{hint}")


def _draw_validation(unit: NDArray[Any], held: NDArray[Any], share: float, random: np.random.Generator) -> NDArray[Any]:
    """Draws whole units until they hold about ``share`` of the held-out rows, bool [n]; at least one, not all.

    Raises:
        UserError: There is only one unit.
    """
    units, place, sizes = np.unique(unit[held], return_inverse=True, return_counts=True)
    if len(units) < 2:
        raise UserError(
            "ood_split.validation_share: a single item or pair is held out and cannot be parted; hold out more"
        )
    order = random.permutation(len(units))
    taken = np.searchsorted(sizes[order].cumsum(), share * held.sum(), side="left") + 1
    chosen = np.zeros(len(units), dtype=bool)
    chosen[order[: min(taken, len(units) - 1)]] = True
    rows = np.zeros(len(held), dtype=bool)
    rows[np.flatnonzero(held)[chosen[place]]] = True
    return rows

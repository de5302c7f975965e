"""Kind ``group``: rows whose cell in a column holds one of some values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.errors import UserError, nearest


def hold_values(cells: NDArray[Any], values: list[str], separator: str | None, column: str) -> NDArray[Any]:
    """Returns which cells hold one of ``values``, bool [n].

    Args:
        cells: [n] texts.
        values: The held-out values. For numbers, ``5`` and ``5.0`` are the same.
        separator: What parts the values of one cell, or None if a cell is one value.
        column: The column, for messages.

    Raises:
        UserError: A value is in no cell.
    """
    present, place = np.unique(cells.astype(str), return_inverse=True)
    parts = [set(cell.split(separator)) if separator else {cell} for cell in present]
    known = sorted(set().union(*parts) - {""})
    for value in values:
        if not any(_equal(value, other) for other in known):
            shown = ", ".join(known[:12]) + (" ..." if len(known) > 12 else "")
            raise UserError(
                f"ood_split.values: {column} has no value {value!r} (it has {shown}).{nearest(value, known)}"
            )
    holds = np.array([any(_equal(value, part) for value in values for part in cell) for cell in parts])
    return holds[place]


def _equal(left: str, right: str) -> bool:
    """Says whether two texts are the same, or the same number."""
    if left == right:
        return True
    try:
        return float(left) == float(right)
    except ValueError:
        return False

"""What a loss that is more than a mean over rows has to know when several processes share a batch.

Letters: B rows of the whole batch, n terms of a mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Share:
    """Which part of a batch an ``Interaction`` is; it hangs on it as the attribute ``share``.

    Attributes:
        whole: The batch.
        rows: The part's rows.
        weight: How much of the batch it is; what is computed of it is multiplied by this and added up.
        rank: Number of this process.
        size: Number of processes.
    """

    whole: Any
    rows: slice
    weight: float
    rank: int
    size: int


def rows_of(n_rows: int, rank: int, size: int) -> slice:
    """Returns the block of ``n_rows`` that is the share of process ``rank`` of ``size``."""
    return slice(n_rows * rank // size, n_rows * (rank + 1) // size)


def whole_batch(interaction: Any) -> tuple[Any, slice]:
    """Returns the batch that ``interaction`` is a part of, or all of, and which of its rows it has."""
    share = getattr(interaction, "share", None)
    return (interaction, slice(0, len(interaction))) if share is None else (share.whole, share.rows)


def terms_of(interaction: Any, n_terms: int) -> tuple[slice, float]:
    """Returns which of n terms of a mean over something else than rows this process computes, and a factor.

    The factor times the mean over these terms, weighted as this process's share of the batch is, adds up to the mean
    over all n terms.
    """
    share = getattr(interaction, "share", None)
    if share is None or share.weight == 1:
        return slice(0, n_terms), 1.0
    terms = rows_of(n_terms, share.rank, share.size)
    if not share.weight or terms.start == terms.stop:
        return slice(0, 1), 0.0
    return terms, (terms.stop - terms.start) / n_terms / share.weight

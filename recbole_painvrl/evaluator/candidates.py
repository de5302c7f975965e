"""Scores of drawn candidates as a narrow table, where RecBole fills a matrix of users x items.

Letters: B users of a batch, n scored candidates, C different ones, P positives, I items, W columns of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Table:
    """The scored candidates of a batch, each of a user's once, by ascending item.

    Attributes:
        scores: [B, W], ``-inf`` in column 0, which is no candidate, and beyond a user's last one.
        items: item id of each column, long [B, W]; 0 where the score is ``-inf``.
        pairs: ``row * I + item`` of all candidates, ascending, long [C].
        starts: place in ``pairs`` of each row's first candidate, long [B].
        n_items: I.
    """

    scores: Tensor
    items: Tensor
    pairs: Tensor
    starts: Tensor
    n_items: int

    def columns(self, rows: Tensor, items: Tensor) -> Tensor:
        """Returns the column of each pair, long [P].

        Args:
            rows: Row of each, long [P].
            items: Its item, long [P], one of the row's candidates.
        """
        return torch.searchsorted(self.pairs, rows * self.n_items + items) - self.starts[rows] + 1


def table(rows: Tensor, items: Tensor, scores: Tensor, n_items: int, width: int) -> Table:
    """Arranges scored candidates by user.

    Args:
        rows: Row of each candidate, long [n]; every row from 0 to B - 1 has one.
        items: Its item id, long [n], from 1; a pair may be there more than once.
        scores: Its score [n].
        n_items: I.
        width: The least W.
    """
    pairs, place = torch.unique(rows * n_items + items, return_inverse=True)
    owners = pairs // n_items
    counts = torch.bincount(owners)
    starts = counts.cumsum(0) - counts
    columns = torch.arange(len(pairs), device=pairs.device) - starts[owners] + 1
    shape = len(counts), max(int(counts.max()) + 1, width)
    once = scores.new_empty(len(pairs)).index_put_((place,), scores)
    return Table(
        scores.new_full(shape, -torch.inf).index_put_((owners, columns), once),
        items.new_zeros(shape).index_put_((owners, columns), pairs % n_items),
        pairs,
        starts,
        n_items,
    )

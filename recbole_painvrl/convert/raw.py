"""What every raw format is read into, and what the writer turns into atomic files.

Letters of the shapes: U users, I items, N interactions, D feature width, P word occurrences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

WHOLE = "all"  # the only split of a source that has no split
FIRST_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Options:
    """The choices of the user, which say what the files themselves do not.

    Attributes:
        overwrite: replace a data set of the same name.
        swap_labels: what the source calls validation is the test set, and the other way round.
        keep_labels: the validation and the test set are as the source says, even if known counts say otherwise.
        item_offset: what ``mmgcn`` files add to an item id; derived from the files if None.
        n_items: how many items there are; derived from the files if None.
        core: which ``<k>-core`` folder of LATTICE to read.
    """

    overwrite: bool = False
    swap_labels: bool = False
    keep_labels: bool = False
    item_offset: int | None = None
    n_items: int | None = None
    core: int | None = None


@dataclass
class Split:
    """One set of interactions.

    Attributes:
        table: [N] rows with int64 columns ``user`` and ``item``, counted from 0, and any further column.
        origin: the file that it was read from, for messages.
        rows: [N] number of each row in a text file, counted from 1 after the header; None where the source has none.
    """

    table: pd.DataFrame
    origin: str
    rows: Sequence[int] | None = None

    def place(self, row: int) -> str:
        """Returns where row ``row`` of the table was read, for messages."""
        return self.origin if self.rows is None else f"{self.origin} row {self.rows[row]}"


@dataclass
class Feature:
    """One feature matrix: ``values`` [I, D], row i = item i, possibly mapped from disk, and the file it is from."""

    values: np.ndarray
    origin: str


@dataclass
class Words:
    """Word occurrences: ``items`` int64 [P] and ``words`` int64 [P], in the source's order, repeats included."""

    items: np.ndarray
    words: np.ndarray
    origin: str


@dataclass
class RawData:
    """A data set as its source has it, with ids counted from 0.

    Attributes:
        splits: ``train``, ``valid``, ``test`` and any ``test_<x>``; or ``all`` alone.
        features: the matrices by modality name.
        words: word ids of the items, if the source has them.
        items: columns ``item`` and metadata, if the source has them.
        users: columns ``user`` and metadata, if the source has them.
        n_users: number of users where the source states it.
        n_items: number of items where the source states it.
        stated_by: the file or flag that states the two numbers, for messages.
        notes: remarks for the printed summary.
    """

    splits: dict[str, Split]
    features: dict[str, Feature] = field(default_factory=dict)
    words: Words | None = None
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None
    n_users: int | None = None
    n_items: int | None = None
    stated_by: str = ""
    notes: list[str] = field(default_factory=list)

    def item_ids(self) -> np.ndarray:
        """Returns every item, int64 [I] ascending: all feature rows, or else all items that some file names."""
        rows = [feature.values.shape[0] for feature in self.features.values()]
        if self.n_items is not None or rows:
            return np.arange(self.n_items if self.n_items is not None else rows[0])
        named = [split.table["item"].to_numpy() for split in self.splits.values()]
        named += [] if self.words is None else [self.words.items]
        named += [] if self.items is None else [self.items["item"].to_numpy()]
        return np.unique(np.concatenate(named))

    def user_ids(self) -> np.ndarray:
        """Returns every user that some file names, int64 [U] ascending."""
        named = [split.table["user"].to_numpy() for split in self.splits.values()]
        named += [] if self.users is None else [self.users["user"].to_numpy()]
        return np.unique(np.concatenate(named))


def pairs_table(users: np.ndarray, items: np.ndarray, ordered: bool) -> pd.DataFrame:
    """Returns the table of the pairs, [N] rows; sorted by user and item unless the source has an order of its own."""
    table = pd.DataFrame({"user": users.astype(np.int64), "item": items.astype(np.int64)})
    return table if ordered else table.sort_values(["user", "item"], ignore_index=True)

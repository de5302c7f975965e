"""The groupings of a test set: by environment, popularity, activity, missing features, warm and cold, any column.

Letters: P positives, U users and I items with the padding 0, n interactions of the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recbole.utils import FeatureType

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.evaluator.groups import Grouping
from recbole_painvrl.evaluator.lists import Lists

ENVIRONMENT = "environment"
POPULARITY_PARTS, ACTIVITY_PARTS, NUMBER_PARTS = 10, 5, 5
MOST_VALUES = 20  # of a column; the others are one group
AUTOMATIC_VALUES = 100  # a column of more values, such as titles, is grouped only if it is named
OTHER, NOTHING = "(other)", "(none)"  # unlike any token

Pairs = tuple[NDArray[Any], NDArray[Any]]  # index and group of each membership


class Groupings:
    """Makes the groupings of any test set of one run.

    Args:
        dataset: the data set, with its ``.user`` and ``.item`` columns.
        train: the training part.
        names: the key ``eval_groups``: names, or None for all that the data have.

    Raises:
        UserError: a name is neither a grouping nor a column that is loaded.
    """

    def __init__(self, dataset: Any, train: Any, names: Sequence[str] | None) -> None:
        self.dataset = dataset
        self.item_counts = np.bincount(train.inter_feat[train.iid_field].numpy(), minlength=dataset.item_num)
        self.user_counts = np.bincount(train.inter_feat[train.uid_field].numpy(), minlength=dataset.user_num)
        self.missing = {
            name: modality.missing
            for name, modality in getattr(dataset, "modalities", {}).items()
            if modality.missing.any()
        }
        self.columns = _columns(dataset)
        self.names = self._automatic() if names is None else list(names)
        known = [*_BUILT_IN, *self.columns]
        for name in self.names:
            if name not in known:
                raise UserError(
                    f"eval_groups: no grouping '{name}' (there are {', '.join(known)}).{nearest(name, known)} A column "
                    "of the files counts once load_col names it"
                )

    def _automatic(self) -> list[str]:
        small = [
            name
            for name, place in self.columns.items()
            if place != "inter" and name not in _BUILT_IN and self._n_values(name) <= AUTOMATIC_VALUES
        ]
        return [*_BUILT_IN, *small]

    def _n_values(self, name: str) -> int:
        numeric = self.dataset.field2type[name] == FeatureType.FLOAT
        return 0 if numeric else len(self.dataset.field2id_token[name])

    def of(self, part: Any, lists: Lists) -> list[Grouping]:
        """Returns the groupings of the positives of ``lists``, which come from the test set ``part``.

        A grouping that the data do not have, or that would be one group alone, is left out.
        """
        found = [self._grouping(name, part, lists) for name in self.names]
        return [one for one in found if one is not None]

    def _grouping(self, name: str, part: Any, lists: Lists) -> Grouping | None:
        made = _BUILT_IN[name](self, part, lists) if name in _BUILT_IN else self._by_column(name, part, lists)
        if made is None:
            getLogger().info(f"eval_groups: '{name}' is left out, the data do not have it here")
            return None
        labels, (positives, groups) = made
        return Grouping(name, tuple(labels), positives, groups) if len(np.unique(groups)) > 1 else None

    def _popularity(self, part: Any, lists: Lists) -> tuple[list[str], Pairs]:
        return _of_codes(quantile_groups(self.item_counts, POPULARITY_PARTS, self.item_counts > 0, "0"), lists.items)

    def _activity(self, part: Any, lists: Lists) -> tuple[list[str], Pairs]:
        groups = quantile_groups(self.user_counts, ACTIVITY_PARTS, self.user_counts > 0, "0")
        return _of_codes(groups, lists.users[lists.rows])

    def _warm(self, part: Any, lists: Lists) -> tuple[list[str], Pairs]:
        return _of_codes((["warm", "cold"], (self.item_counts == 0).astype(int)), lists.items)

    def _missing(self, part: Any, lists: Lists) -> tuple[list[str], Pairs] | None:
        if not self.missing:
            return None
        rows = [~np.any(list(self.missing.values()), axis=0), *self.missing.values()]
        groups, positives = np.nonzero(np.stack(rows)[:, lists.items])
        return ["complete", *(f"without {name}" for name in self.missing)], (positives, groups)

    def _environment(self, part: Any, lists: Lists) -> tuple[list[str], Pairs] | None:
        return self._by_column(ENVIRONMENT, part, lists) if ENVIRONMENT in part.inter_feat else None

    def _by_column(self, name: str, part: Any, lists: Lists) -> tuple[list[str], Pairs] | None:
        place = self.columns[name]
        if place == "inter":
            if name not in part.inter_feat:
                return None
            positives, rows = _rows_of_positives(part, lists)
            feature = part.inter_feat
        else:
            positives = np.arange(len(lists.items))
            rows = lists.items if place == "item" else lists.users[lists.rows]
            feature = self.dataset.item_feat if place == "item" else self.dataset.user_feat
        values, kind = feature[name].numpy(), self.dataset.field2type[name]
        if kind == FeatureType.FLOAT:
            labels, codes = quantile_groups(values, NUMBER_PARTS, np.isfinite(values), NOTHING)
            return labels, (positives, codes[rows])
        chosen = values[rows].reshape(len(rows), -1)
        return _of_tokens(chosen, kind == FeatureType.TOKEN_SEQ, positives, self.dataset.field2id_token[name])


_BUILT_IN: dict[str, Callable[[Groupings, Any, Lists], tuple[list[str], Pairs] | None]] = {
    ENVIRONMENT: Groupings._environment,
    "popularity": Groupings._popularity,
    "activity": Groupings._activity,
    "missing": Groupings._missing,
    "warm": Groupings._warm,
}


def environments(part: Any, lists: Lists) -> Grouping | None:
    """Returns the grouping by the column ``environment`` of ``part``, one group alone included; None without it."""
    if ENVIRONMENT not in part.inter_feat or part.field2type[ENVIRONMENT] != FeatureType.TOKEN:
        return None
    positives, rows = _rows_of_positives(part, lists)
    codes = part.inter_feat[ENVIRONMENT].numpy()[rows]
    return Grouping(ENVIRONMENT, tuple(map(str, part.field2id_token[ENVIRONMENT])), positives, codes)


def quantile_groups(
    values: NDArray[Any], n_parts: int, chosen: NDArray[Any], rest: str
) -> tuple[list[str], NDArray[Any]]:
    """Parts values at their quantiles.

    Args:
        values: numbers [n].
        n_parts: how many parts of the chosen values; fewer where many are equal, for equal values stay together.
        chosen: which values to part, bool [n].
        rest: label of the others.

    Returns:
        Labels (``rest``, then ``least..most`` of each part) and the index of each value's label [n].
    """
    codes = np.zeros(len(values), dtype=np.int64)
    known = values[chosen]
    if not len(known):
        return [rest], codes
    edges = np.unique(np.quantile(known, np.arange(1, n_parts) / n_parts, method="inverted_cdf"))
    _, dense = np.unique(np.searchsorted(edges, known), return_inverse=True)
    codes[chosen] = dense + 1
    parts = [known[dense == number] for number in range(dense.max() + 1)]
    return [rest, *(_range(float(part.min()), float(part.max())) for part in parts)], codes


def _range(least: float, most: float) -> str:
    return f"{least:.7g}" if least == most else f"{least:.7g}..{most:.7g}"


def _of_codes(groups: tuple[list[str], NDArray[Any]], ids: NDArray[Any]) -> tuple[list[str], Pairs]:
    labels, codes = groups
    return labels, (np.arange(len(ids)), codes[ids])


def _of_tokens(
    values: NDArray[Any], is_sequence: bool, positives: NDArray[Any], tokens: Sequence[str]
) -> tuple[list[str], Pairs]:
    """Groups by the most frequent values among the positives; a sequence puts its positive into several groups.

    Args:
        values: token ids [m, L], 0 for nothing; L is 1 unless it is a sequence.
        is_sequence: whether 0 is padding wherever something else stands beside it.
        positives: the positive of each row [m].
        tokens: the token of each id.
    """
    counted = values > 0
    if is_sequence:
        counted[:, 0] |= ~counted.any(axis=1)
    else:
        counted[:] = True
    row, column = np.nonzero(counted)
    ids = values[row, column]
    counts = np.bincount(ids, minlength=len(tokens))
    frequent = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    frequent = np.sort(frequent[counts[frequent] > 0])
    codes = np.full(len(tokens), len(frequent))
    codes[frequent] = np.arange(len(frequent))
    labels = [NOTHING if one == 0 else str(tokens[one]) for one in frequent]
    return [*labels, OTHER], (positives[row], codes[ids])


def _rows_of_positives(part: Any, lists: Lists) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns pairs (positive, row of ``part``) with the same user and item; a pair may have several rows."""
    inter = part.inter_feat
    rows = pd.DataFrame({"user": inter[part.uid_field].numpy(), "item": inter[part.iid_field].numpy()})
    pairs = pd.DataFrame({"user": lists.users[lists.rows], "item": lists.items})
    both = pairs.reset_index(names="positive").merge(rows.reset_index(names="row"), on=["user", "item"])
    return both["positive"].to_numpy(), both["row"].to_numpy()


def _columns(dataset: Any) -> dict[str, str]:
    """Returns where each column is that can make groups: ``user``, ``item`` or ``inter``."""
    kinds = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ, FeatureType.FLOAT)
    ids = (dataset.uid_field, dataset.iid_field)
    columns: dict[str, str] = {}
    for place in ("user", "item", "inter"):
        feature = getattr(dataset, f"{place}_feat")
        for name in [] if feature is None else feature.columns:
            if name not in ids and dataset.field2type.get(name) in kinds:
                columns.setdefault(name, place)
    return columns

"""Who has what, as sorted arrays: what evaluation over all items needs, without a Python set for each user.

RecBole's sampler keeps a set of items a user and phase, and its loader two tensors a user: kilobytes for each of them.
Letters: U users, I items, n interactions.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_painvrl.data.items_by_user import ItemsByUser, pair_keys


class KnownPairs:
    """Different pairs of user and item; stands where RecBole has a sampler, from which nothing is drawn.

    Args:
        parts: Built parts of a data set whose pairs these are.
        phase: ``valid`` or ``test``, by which RecBole configures the evaluation that they are known for.

    Attributes:
        items: The items of each user.
    """

    def __init__(self, parts: Sequence[Dataset], phase: str) -> None:
        self.phase, self.items = phase, ItemsByUser.of(parts)

    def beyond(self, part: Dataset, phase: str) -> KnownPairs:
        """Returns these pairs and those of ``part``, for an evaluation in ``phase``."""
        more = copy.copy(self)
        more.phase = phase
        more.items = ItemsByUser(np.union1d(self.items.keys(), pair_keys(part)), part.user_num, part.item_num)
        return more


class FullSortLoader(FullSortEvalDataLoader):
    """RecBole's loader for ranking all items, with the same batches.

    Args:
        config: The configuration, not of a sequential model.
        dataset: A built evaluation part; it is sorted by user, as RecBole does.
        known: All pairs of the data known when the part is evaluated, its own included.
        shuffle: Has to be false.
    """

    def __init__(self, config: Any, dataset: Dataset, known: KnownPairs, shuffle: bool = False) -> None:
        self.uid_field, self.iid_field, self.is_sequential = dataset.uid_field, dataset.iid_field, False
        dataset.sort(by=self.uid_field, ascending=True)
        own = np.unique(pair_keys(dataset))
        users, counts = np.unique(own // dataset.item_num, return_counts=True)
        of_users = np.zeros(dataset.user_num, dtype=bool)
        of_users[users] = True
        others = known.items.keys()
        others = others[of_users[others // dataset.item_num]]
        others = others[~np.isin(others, own, assume_unique=True)]
        self.uid2positive_item = ItemsByUser(own, dataset.user_num, dataset.item_num)
        self.uid2history_item = ItemsByUser(others, dataset.user_num, dataset.item_num)
        self.uid2items_num = np.zeros(dataset.user_num, dtype=np.int64)
        self.uid2items_num[users] = counts
        self.uid_list = torch.from_numpy(users)
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.user_df)
        super(FullSortEvalDataLoader, self).__init__(config, dataset, known, shuffle=shuffle)

    def collate_fn(self, index: Sequence[int]) -> tuple[Interaction, tuple[Tensor, Tensor], Tensor, Tensor]:
        """Returns a batch of users as RecBole does, without a tensor for each of them."""
        chosen = np.asarray(index)
        users = self.uid_list.numpy()[chosen]
        return (self.user_df[chosen], self.uid2history_item.pairs(users), *self.uid2positive_item.pairs(users))

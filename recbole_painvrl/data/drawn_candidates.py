"""Evaluation on drawn candidates (RecBole's mode ``uniN``), drawn by whole batches and the same however they are cut.

RecBole's loader keeps a slice and a set of items a user, and draws by trial and error with the global generator.
Letters: U users, I items, P positives of the part, N negatives a positive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from logging import getLogger
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.dataloader import NegSampleEvalDataLoader
from recbole.data.dataloader.general_dataloader import NegSampleDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import InputType
from torch import Tensor

from recbole_painvrl.data.full_sort import KnownPairs
from recbole_painvrl.data.items_by_user import ItemsByUser
from recbole_painvrl.data.sampling import EverythingKnownError, UnknownItems
from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import derive_seed

_ADVANCE = 4  # 64-bit numbers that one step of Philox4x64's counter stands for


class DrawnCandidatesLoader(NegSampleEvalDataLoader):
    """RecBole's loader for ranking each positive among N uniform negatives, which its user is not known to have.

    The candidates follow from the seed, the set's name and the place of the positive among all of the set, so they are
    the same at every evaluation, for every batch size and for any number of processes.

    Args:
        config: The configuration, not of a sequential model.
        dataset: A built evaluation part.
        known: All pairs of the data known when the part is evaluated, its own included.
        name: The set's name.

    Raises:
        UserError: A user has every item, so that there is no negative.
    """

    def __init__(self, config: Any, dataset: Dataset, known: KnownPairs, name: str) -> None:
        self.logger = getLogger()
        self._set_neg_sample_args(config, dataset, InputType.POINTWISE, config[f"{known.phase}_neg_sample_args"])
        self.positives = ItemsByUser.of([dataset])
        self.uid2items_num = np.diff(self.positives.starts)
        self.uid_list = np.flatnonzero(self.uid2items_num)
        self.sample_size = len(self.uid_list)
        self.unknown = _unknown_items(config, dataset, known)
        self.key = derive_seed(config["seed"], f"candidates-{name}")
        super(NegSampleDataLoader, self).__init__(config, dataset, known, shuffle=False)
        cut(self, self.batches(range(self.sample_size)))

    def _init_batch_size_and_step(self) -> None:
        """Sets what RecBole asks for; :meth:`batches` says how many users are in each."""
        self.step = 1
        self.set_batch_size(self.config["eval_batch_size"])

    def batches(self, users: range) -> list[range]:
        """Cuts places in ``uid_list``, which follow each other, into batches.

        Each has as many users as can be while they times the candidates of the one that has most, which is the size of
        the batch's table, are at most ``eval_batch_size``; a user with more of them is alone.
        """
        chosen = self.uid_list[users.start : users.stop]
        return runs(self.uid2items_num[chosen] * self.times, self.config["eval_batch_size"], users.start)

    def collate_fn(self, index: Sequence[int]) -> tuple[Interaction, Tensor, Tensor, Tensor]:
        """Returns a batch as RecBole does; each positive is followed by its negatives.

        Args:
            index: Places of users in ``uid_list``, one after the other.

        Returns:
            Users, items and labels, [n] each with n = p * (N + 1); the row of each, long [n]; row and item of the
            positives, long [p].
        """
        users = self.uid_list[np.asarray(index)]
        rows, items = self.positives.pairs(users)
        owners = torch.from_numpy(users)[rows]
        negatives = self.unknown.at(owners, self._numbers(int(self.positives.starts[users[0]]), len(items)))
        candidates = torch.cat([items[:, None], negatives], dim=1)
        labels = torch.zeros(candidates.shape)
        labels[:, 0] = 1.0
        columns = {
            self.uid_field: owners.repeat_interleave(self.times),
            self.iid_field: candidates.flatten(),
            self.label_field: labels.flatten(),
        }
        return Interaction(columns), rows.repeat_interleave(self.times), rows, items

    def _numbers(self, first: int, count: int) -> Tensor:
        """Returns the uniform numbers of the positives from ``first`` on, float64 [count, N]."""
        steps = -(-self.neg_sample_num // _ADVANCE)
        counter = np.random.Philox(key=self.key)
        counter.advance(first * steps)
        generator = np.random.Generator(counter)
        return torch.from_numpy(generator.random((count, steps * _ADVANCE))[:, : self.neg_sample_num])


def cut(loader: Any, batches: Iterable[Sequence[int]]) -> None:
    """Has a loader of RecBole's make other batches, each of the places that ``batches`` says."""
    # torch's loaders refuse a new sampler, though nothing but this is needed of one
    loader.__dict__["batch_sampler"] = batches


def runs(widths: NDArray[np.int64], area: int, start: int = 0) -> list[range]:
    """Cuts rows into the longest runs whose length times greatest width is at most ``area``, and at least one row.

    Args:
        widths: Width of each row, at least 1, [n].
        area: What a run may fill.
        start: Number of the first row.
    """
    found, first = [], 0
    most = max(area // int(widths.min()), 1) if len(widths) else 1
    while first < len(widths):
        filled = np.maximum.accumulate(widths[first : first + most]) * np.arange(1, most + 1)[: len(widths) - first]
        last = first + max(int(np.searchsorted(filled, area, side="right")), 1)
        found.append(range(start + first, start + last))
        first = last
    return found


def _unknown_items(config: Any, dataset: Dataset, known: KnownPairs) -> UnknownItems:
    try:
        return UnknownItems(known.items)
    except EverythingKnownError as error:
        user = dataset.field2id_token[dataset.uid_field][error.user]
        raise no_negatives(config, dataset, f"user '{user}' has them all") from error


def no_negatives(config: Any, dataset: Dataset, why: Any) -> UserError:
    """Returns the error of a data set in which a user has every item."""
    n_items = dataset.item_num - 1
    return UserError(
        f"dataset '{config['dataset']}': negatives cannot be drawn ({why}); of {n_items} items a user may have "
        f"{n_items - 1}, which user_inter_num_interval: '[0,{n_items})' sees to unless the splits are ready"
    )

"""The training loader: one epoch of interactions in a permuted order, each batch taken by one index a column.

RecBole's loader builds lists of Python integers for every batch and draws negatives in a Python loop; with 50 negatives
an interaction that is most of an epoch. This one yields row numbers as well, so that per-interaction state (the
environment of a training row) can be looked up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_painvrl.data.items_by_user import ItemsByUser
from recbole_painvrl.data.sampling import EverythingKnownError, UnknownItems, uniform_negatives
from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import generator


class TrainLoader:
    """Iterates over the interactions of a built training data set, each exactly once an epoch.

    A batch is an ``Interaction`` of the columns ``row`` (position in ``dataset.inter_feat``), the user field, the item
    field (int64 [B] each) and, with N > 0 negatives, ``negatives`` (int64 [B, N]). The last batch may be shorter.

    :attr:`generator` alone decides everything that follows: the order of an epoch is drawn from it, and so is the seed
    of that epoch's negatives. Its state between two epochs is all that an exact continuation needs.

    With ``batch_by: user`` the users are permuted instead of the interactions, so that a batch holds few users with all
    their interactions: a softmax over all items costs one row of logits a user.

    The batches of an epoch are equally large up to one row, ``train_batch_size`` at the most: a short last batch would
    count as much in Adam's step as a full one, and its noise is all the larger.

    Several processes draw the same batches; :class:`recbole_painvrl.distributed.Ranks` gives each its rows of them.

    Args:
        config: Resolved configuration; ``seed``, ``train_batch_size`` (interactions a step), ``batch_by``
            and ``shuffle`` are read.
        dataset: The built training part.
        n_negatives: N; None takes the key ``n_negatives``, 0 if there is none.
        reject_known: Whether negatives exclude the user's training items; None means: with ``rec_loss: bpr``.

    Raises:
        UserError: ``train_batch_size`` is not positive, RecBole's dynamic negatives are asked for, or a user has no
            unknown item left to reject to.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        dataset: Dataset,
        n_negatives: int | None = None,
        reject_known: bool | None = None,
    ) -> None:
        self.config = config
        self.dataset = self._dataset = dataset
        self.shuffle = config["shuffle"] is not False
        self.batch_size = self.step = _batch_size(config)
        self.batch_by = _batch_by(config)
        self.users: Tensor = dataset.inter_feat[dataset.uid_field].long()
        self.items: Tensor = dataset.inter_feat[dataset.iid_field].long()
        self.n_negatives = int(config["n_negatives"] or 0) if n_negatives is None else n_negatives
        self.generator = generator(config["seed"], "loader")
        reject = config["rec_loss"] == "bpr" if reject_known is None else reject_known
        self.unknown = self._unknown_items() if reject and self.n_negatives else None

    def _unknown_items(self) -> UnknownItems:
        try:
            return UnknownItems(ItemsByUser.of([self.dataset]))
        except EverythingKnownError as error:
            user = self.dataset.field2id_token[self.dataset.uid_field][error.user]
            raise UserError(
                f"dataset '{self.dataset.dataset_name}': user '{user}' has all {self.dataset.item_num - 1} items in "
                "training, so that no negative is left; leave the user out, or use rec_loss: softmax"
            ) from error

    def __len__(self) -> int:
        """Returns the number of batches of an epoch."""
        return math.ceil(len(self.users) / self.step)

    def __iter__(self) -> Iterator[Interaction]:
        """Yields the batches of the next epoch."""
        order = self._order()
        negatives_seed = int(torch.randint(2**62, (), generator=self.generator))
        negatives = generator(negatives_seed, "negatives-0")
        for rows in order.tensor_split(len(self)):
            yield self._batch(rows, negatives)

    def _order(self) -> Tensor:
        """Draws the rows of the next epoch in their order, int64."""
        return self._shuffled() if self.shuffle else torch.arange(len(self.users))

    def _shuffled(self) -> Tensor:
        """Returns a random order of all rows, or with ``batch_by: user`` of the users, each with all rows."""
        if self.batch_by == "interaction":
            return torch.randperm(len(self.users), generator=self.generator)
        place = torch.randperm(self.dataset.user_num, generator=self.generator)
        return torch.argsort(place[self.users], stable=True)

    def _batch(self, rows: Tensor, negatives: torch.Generator) -> Interaction:
        """Takes the columns of ``rows`` [B] and draws their negatives."""
        users = self.users[rows]
        batch = {"row": rows, self.dataset.uid_field: users, self.dataset.iid_field: self.items[rows]}
        if self.unknown is not None:
            batch["negatives"] = self.unknown.draw(users, self.n_negatives, negatives)
        elif self.n_negatives:
            batch["negatives"] = uniform_negatives(len(rows), self.n_negatives, self.dataset.item_num, negatives)
        return Interaction(batch)


def _batch_size(config: Mapping[str, Any]) -> int:
    """Returns the interactions a step, after a look at the keys that the loader cannot honor."""
    size = config["train_batch_size"]
    if not isinstance(size, int) or size < 1:
        raise UserError(f"train_batch_size: {size!r} is not a positive number of interactions")
    _check_negatives(config["train_neg_sample_args"] or {})
    return size


def _check_negatives(given: Mapping[str, Any]) -> None:
    """Refuses the negatives of RecBole's own sampler, which this loader does not use."""
    if given.get("dynamic"):
        raise UserError("train_neg_sample_args: dynamic negatives are for RecBole's own models; remove the key dynamic")
    distribution, number = given.get("distribution", "uniform"), given.get("sample_num", 1)
    if distribution != "none" and (distribution != "uniform" or number != 1):  # none is how RecBole writes ~
        raise UserError(
            f"train_neg_sample_args: {number} of distribution {distribution} are for RecBole's own models; the models "
            "of this package draw uniform ones, as many as n_negatives says"
        )


def _batch_by(config: Mapping[str, Any]) -> str:
    """Returns the key ``batch_by``, ``interaction`` where a model has none."""
    order = config["batch_by"] or "interaction"
    if order not in ("interaction", "user"):
        raise UserError(f"batch_by must be interaction or user, but got {order!r}")
    return order

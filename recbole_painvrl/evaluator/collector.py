"""RecBole's collector with users' ids, and without a dense users x items matrix of positives.

Letters: B users of a batch, U users of an evaluation, I items, K the largest cutoff of ``topk``.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import Register
from torch import Tensor

from recbole_painvrl.compat import Collector
from recbole_painvrl.compat.evaluation import PER_EVALUATION
from recbole_painvrl.distributed import Ranks
from recbole_painvrl.errors import UserError
from recbole_painvrl.evaluator.growing import GrowingTable
from recbole_painvrl.evaluator.lists import Lists, places_of_positives


def hits_and_positives(recommended: Tensor, positive_u: Tensor, positive_i: Tensor, n_items: int) -> Tensor:
    """Returns which recommended items are positives, and how many positives each user has.

    Args:
        recommended: item ids, long [B, K].
        positive_u: row in 0..B-1 of each positive, long [P].
        positive_i: its item id, long [P]; a pair may occur more than once and counts once.
        n_items: I.

    Returns:
        int32 [B, K + 1]: 1 for a hit at each of the K places, then the number of positives.
    """
    n_rows = len(recommended)
    positives = torch.unique(positive_u * n_items + positive_i)
    keys = torch.arange(n_rows)[:, None] * n_items + recommended
    place = torch.searchsorted(positives, keys).clamp_max(max(len(positives) - 1, 0))
    hits = positives[place] == keys if len(positives) else torch.zeros_like(keys, dtype=torch.bool)
    counts = torch.bincount(positives // n_items, minlength=n_rows)
    return torch.cat([hits, counts[:, None]], dim=1).to(torch.int32)


class RunCollector(Collector):
    """Collects what RecBole's collector does, and which user each row belongs to.

    Joining top-k lists at every batch, as RecBole does, is quadratic in the number of batches.

    Attributes:
        ranks: The processes that share an evaluation out; each has the lists of all of them in the end.
        items: Item of each column of the next batch's scores, long [B, W]; None if the columns are all items.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        needed = Register(config)
        self._wanted = {key: needed.need(key) for key in ("rec.topk", "rec.items")}
        for key in self._wanted:
            setattr(self.register, key, False)  # these two are collected here, not by the classes above
        self._tables: dict[str, GrowingTable] = {}
        self.latest = DataStruct()
        self.lists: Lists | None = None
        self._n_rows = 0
        self.ranks = Ranks()
        self.items: Tensor | None = None

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Collects one batch.

        Args:
            scores_tensor: scores [B, I], or [B, W] of the columns of :attr:`items`; ``-inf`` for what must not be
                recommended.
            interaction: the batch's users.
            positive_u: row of each positive, long [P].
            positive_i: item of each positive, or its column, long [P].

        Raises:
            UserError: ``topk`` is larger than the number of items.
        """
        if any(self._wanted.values()):
            self._collect_lists(scores_tensor, positive_u, positive_i)
            self._add("rec.users", self._users(interaction, len(scores_tensor)))
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        self.items = None

    def _collect_lists(self, scores: Tensor, positive_u: Tensor, positive_i: Tensor) -> None:
        n_items, depth = scores.shape[1], max(self.topk)
        if depth > n_items:
            raise UserError(f"topk: {depth} is more than the data set's {n_items - 1} items; use a smaller one")
        recommended = torch.topk(scores, depth, dim=-1).indices.cpu()
        items = None if self.items is None else self.items.cpu()
        if self._wanted["rec.items"]:
            self._add("rec.items", recommended if items is None else items.gather(1, recommended))
        if self._wanted["rec.topk"]:
            positives = positive_u.cpu(), positive_i.cpu()
            self._add("rec.topk", hits_and_positives(recommended, *positives, n_items))
            found = places_of_positives(recommended, *positives, n_items)
            if items is not None:
                found[:, 1] = items[found[:, 0], found[:, 1]]
            self._add("positives", found + torch.tensor([self._n_rows, 0, 0]))
            self._n_rows += len(recommended)

    def _users(self, interaction: Any, n_rows: int) -> Tensor:
        users: Tensor = interaction[self.config["USER_ID_FIELD"]].cpu()
        # with sampled negatives a user's rows stand together and make one row of scores
        if len(users) != n_rows:
            users = torch.unique_consecutive(users)
        return users

    def _add(self, key: str, value: Tensor) -> None:
        self._tables.setdefault(key, GrowingTable()).add(value)

    def get_data_struct(self) -> DataStruct:
        """Returns everything collected since the last call.

        :attr:`latest` keeps the top-k hits and the users, :attr:`lists` the place of each positive (None if no metric
        of the evaluation is a top-k metric).
        """
        stock = super().get_data_struct()
        joined = {key: table.rows for key, table in self._tables.items()}
        joined |= {key: stock.get(key) for key in PER_EVALUATION if key in stock}
        joined = side_by_side(self.ranks.gathered(joined))
        self._tables, self._n_rows = {}, 0
        positives = joined.pop("positives", None)
        self.lists = None
        if positives is not None:
            rows, items, places = positives.numpy().T
            self.lists = Lists(joined["rec.users"].numpy(), rows, items, places, depth=max(self.topk))
        self.latest = DataStruct()
        for key in joined.keys() & {"rec.topk", "rec.users"}:
            self.latest.set(key, joined[key])
        for key, value in joined.items():
            stock.set(key, value)
        return stock


def side_by_side(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Joins what the processes of an evaluation have collected; rows of positives are counted on from one to the next.

    A process that had no user has nothing.
    """
    if len(parts) == 1:
        return parts[0]
    n_rows = 0
    for part in parts:
        if "positives" in part:
            part["positives"] += torch.tensor([n_rows, 0, 0])
            n_rows += len(part["rec.users"])
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: torch.cat([part[key] for part in parts if key in part]) for key in keys}

"""Ranking only new items: a loader that hides every item with a training interaction."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.dataset import Dataset
from torch import Tensor

from recbole_painvrl.data.full_sort import FullSortLoader, KnownPairs
from recbole_painvrl.data.splits.settings import CANDIDATES
from recbole_painvrl.errors import UserError, nearest, one_of


class NewItemsLoader(FullSortLoader):
    """RecBole's loader for ranking all items, in which known items count as the user's history and never rank.

    Args:
        config: The configuration.
        dataset: A built test set.
        sampler: All pairs known when it is evaluated.
        known: [k] the items that have a training interaction.

    Raises:
        UserError: An interaction of the test set is with a known item.
    """

    def __init__(self, config: Any, dataset: Dataset, sampler: Any, known: Tensor) -> None:
        self.known = known
        wrong = int(torch.isin(dataset.inter_feat[dataset.iid_field], known).sum())
        if wrong:
            raise UserError(
                f"test_candidates: new needs a test set of new items only, but {wrong} of its {len(dataset)} "
                "interactions are with items that have a training interaction"
            )
        super().__init__(config, dataset, sampler, shuffle=False)

    def collate_fn(self, index: Any) -> tuple[Any, tuple[Tensor, Tensor], Tensor, Tensor]:
        """Returns RecBole's batch with all known items added to every user's history."""
        users, (history_u, history_i), positive_u, positive_i = super().collate_fn(index)
        n_users = len(users)
        rows = torch.arange(n_users).repeat_interleave(len(self.known))
        history = (torch.cat([history_u, rows]), torch.cat([history_i, self.known.repeat(n_users)]))
        return users, history, positive_u, positive_i


def new_items_loader(config: Any, train: Dataset, part: Dataset, sampler: Any) -> NewItemsLoader:
    """Returns the loader of a test set in which only items without a training interaction are ranked.

    Raises:
        UserError: The evaluation draws negatives instead of ranking all items.
    """
    mode = config["eval_args"]["mode"]
    if (mode["test"] if isinstance(mode, dict) else mode) != "full":
        raise UserError(f"test_candidates: ranking only new items needs eval_args.mode full, found {mode!r}")
    if not isinstance(sampler, KnownPairs):
        sampler = KnownPairs([part], "test")  # its users' known items are no candidates in any case
    return NewItemsLoader(config, part, sampler, torch.unique(train.inter_feat[train.iid_field]))


def only_new(candidates: dict[str, str], name: str, names: list[str]) -> bool:
    """Says whether the test set ``name`` ranks only new items; ``test_ood:cold`` does as ``test_ood`` does.

    Raises:
        UserError: ``candidates`` names a test set that is not among ``names``, or says something unknown.
    """
    for known, value in candidates.items():
        one_of(f"test_candidates.{known}", value, CANDIDATES)
        if known not in names and known not in ("test_ood", "valid_ood"):
            raise UserError(
                f"test_candidates: no test set '{known}' (there are {', '.join(names)}).{nearest(known, names)}"
            )
    return candidates.get(name.partition(":")[0]) == "new"

"""What every multimodal recommender of this package shares: scores are inner products of two tables.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), d width of the scoring tables.
"""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_painvrl.products import pair_products


class MultimodalRecommender(GeneralRecommender):
    """A RecBole general recommender whose score of user u and item i is ``<users[u], items[i]>``.

    Subclasses implement :meth:`tables` and ``calculate_loss``. Modality features come from the data set
    (:class:`recbole_painvrl.data.dataset.MultimodalDataset`), never from files.

    The loss of a batch has to be a mean over its rows, so that several processes can share it out; one that has other
    terms, or draws numbers for each row, computes these by :mod:`recbole_painvrl.model.batch`, or says
    ``loss_by_rows = False`` and is trained in one process only.

    Attributes:
        row_gradients: whether the optimizer takes a sparse gradient of the rows that a step touches, instead of one as
            large as the table.
    """

    input_type = InputType.POINTWISE
    uses_modalities = True
    loss_by_rows = True
    fast_loader = True
    row_gradients = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._tables: tuple[Tensor, Tensor] | None = None

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the scoring tables of users [U, d] and of items [I, d]."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it scores")

    def parameter_groups(self) -> list[dict]:
        """Returns the optimizer's parameter groups; a group's ``weight_decay`` is added straight to its gradients."""
        return [{"params": list(self.parameters())}]

    def before_epoch(self) -> None:
        """Does what is due before each training epoch, such as drawing a graph; nothing by default.

        A training that goes on from a checkpoint calls this at the same places, with the generators of
        ``generators()`` in the same states, so what follows from them and from the parameters needs no storing.
        """

    @classmethod
    def loader_negatives(cls, config: Any) -> int:
        """Returns how many negatives the training loader draws for each interaction under this configuration."""
        return 0

    def train(self, mode: bool = True) -> MultimodalRecommender:
        """Switches between training and evaluation and forgets the cached tables."""
        self._tables = None
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Loads parameters and forgets the cached tables, which belonged to the old ones."""
        self._tables = None
        return super().load_state_dict(*args, **kwargs)

    @torch.no_grad()
    def _scoring_tables(self) -> tuple[Tensor, Tensor]:
        if self.training:
            return self.tables()
        if self._tables is None:
            users, items = self.tables()
            self._tables = users.contiguous(), items.contiguous()
        return self._tables

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Returns the scores of all items [B * I] for each user of the batch, as RecBole wants them."""
        users, items = self._scoring_tables()
        return (users[interaction[self.USER_ID]] @ items.T).view(-1)

    def predict(self, interaction: Any) -> Tensor:
        """Returns the scores [B] of the batch's pairs."""
        users, items = self._scoring_tables()
        return pair_products(users, items, interaction[self.USER_ID], interaction[self.ITEM_ID])

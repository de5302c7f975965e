"""The ranking loss on two scoring tables that `rec_loss` names: UltraGCN's, a softmax over items, or BPR.

Letters: B batch, N negatives a row, U users, I items, d width of the scoring tables.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.errors import UserError, one_of
from recbole_painvrl.model.batch import whole_batch
from recbole_painvrl.model.loss import RowsByUser, bpr_loss, softmax_loss_of_rows, ultragcn_loss, ultragcn_weights
from recbole_painvrl.model.touched import Touched, worthwhile
from recbole_painvrl.model.transfer import column_on_host, moved

LOSSES = ("ultragcn", "softmax", "bpr")


def check_loss(config: Any) -> str:
    """Returns the configured ``rec_loss``.

    Raises:
        UserError: if it is none of the three, or if UltraGCN's or BPR's has no negatives.
    """
    loss = one_of("rec_loss", config["rec_loss"], LOSSES)
    if loss != "softmax" and config["n_negatives"] < 1:
        raise UserError(f"rec_loss {loss} needs n_negatives of at least 1, but got {config['n_negatives']}")
    return loss


class RankingObjective(nn.Module):
    """Mean loss a training interaction.

    ``ultragcn``: the weighted binary cross-entropy of UltraGCN's constraint loss, with uniform negatives.
    ``softmax``: minus log-probability of the item among all items that have a training interaction, or among
    ``n_negatives`` of them drawn for the step and shared by its rows when that key is above 0.
    ``bpr``: Bayesian personalized ranking against ``n_negatives`` uniform negatives.

    Args:
        config: reads ``rec_loss n_negatives negative_weight loss_weights``.
        user: users of the training interactions, long [n].
        item: their items, long [n].
        n_users: U, padding included.
        n_items: I, padding included.
        generator: draws the shared candidates of a sampled softmax.
    """

    known: Tensor

    def __init__(
        self, config: Any, user: Tensor, item: Tensor, n_users: int, n_items: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.kind = check_loss(config)
        self.n_candidates = int(config["n_negatives"]) if self.kind == "softmax" else 0
        self.negative_weight = float(config["negative_weight"])
        self.generator = generator
        self.user_field, self.item_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.n_items = n_items
        self.known_on_host = torch.unique(item)
        self.register_buffer("known", self.known_on_host, persistent=False)
        if self.kind == "ultragcn":
            self.weights = ultragcn_weights(user, item, n_users, n_items, config["loss_weights"])

    def forward(
        self,
        users: Tensor,
        items: Tensor,
        interaction: Any,
        user: Tensor,
        item: Tensor,
        touched: Touched | None = None,
    ) -> Tensor:
        """Returns the mean loss over the batch, a scalar.

        Args:
            users: Scoring table of the users [U, d], or of those that are ``touched`` [V, d].
            items: Scoring table of the items [I, d], or of those that are touched [M, d].
            interaction: The batch.
            user: The user of each row [B].
            item: Its item [B].
            touched: What :meth:`touched` has said of this batch, or None to look at all users and items.
        """
        if touched is not None:
            return softmax_loss_of_rows(users, items, touched.rows, touched.chosen, touched.candidates)
        if self.kind == "softmax":
            return softmax_loss_of_rows(users, items, self._rows(interaction), item, self._candidates())
        negatives = interaction["negatives"]
        if self.kind == "bpr":
            return bpr_loss(users, items, user, item, negatives)
        return ultragcn_loss(users, items, user, item, negatives, self.weights, self.negative_weight)

    @property
    def samples(self) -> bool:
        """Whether a step draws candidates from the items, to be shared by its rows."""
        return 0 < self.n_candidates < self.known.numel()

    def touched(self, interaction: Any) -> Touched | None:
        """Draws a step's candidates and returns what it touches; None if these items are not few, or not drawn here.

        Losses on the same batch that are told of them share the candidates.
        """
        if not self.samples:
            return None
        whole, _ = whole_batch(interaction)
        if not worthwhile(self.n_candidates + len(whole), self.n_items):
            return None
        candidates = self.known_on_host[self._drawn()]
        chosen = column_on_host(interaction, self.item_field).cpu()  # of several processes on GPUs it is there alone
        return Touched.of(self._rows(interaction), candidates, chosen)

    def _rows(self, interaction: Any) -> RowsByUser:
        """Returns the rows of a batch by user, which several losses on the same batch share."""
        rows: RowsByUser | None = getattr(interaction, "rows_by_user", None)
        if rows is None:
            rows = RowsByUser.of(column_on_host(interaction, self.user_field), self.known.device)
            interaction.rows_by_user = rows
        return rows

    def _candidates(self) -> Tensor:
        """Returns distinct items in ascending order."""
        return self.known[moved(self._drawn(), self.known.device)] if self.samples else self.known

    def _drawn(self) -> Tensor:
        """Draws the places of the candidates among the known items; on the host, ascending, each once."""
        return torch.unique(torch.randint(self.known.numel(), (self.n_candidates,), generator=self.generator))

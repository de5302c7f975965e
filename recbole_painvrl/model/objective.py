"""The ranking loss on two scoring tables that `rec_loss` names: UltraGCN's, a softmax over items, or BPR.

Letters: B batch, N negatives a row, U users, I items, d width of the scoring tables.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_painvrl.errors import UserError, one_of
from recbole_painvrl.model.loss import RowsByUser, bpr_loss, softmax_loss_of_rows, ultragcn_loss, ultragcn_weights
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
        self.user_field = config["USER_ID_FIELD"]
        self.register_buffer("known", torch.unique(item), persistent=False)
        if self.kind == "ultragcn":
            self.weights = ultragcn_weights(user, item, n_users, n_items, config["loss_weights"])

    def forward(self, users: Tensor, items: Tensor, interaction: Any, user: Tensor, item: Tensor) -> Tensor:
        """Returns the mean loss over the batch, a scalar, for tables [U, d] and [I, d]."""
        if self.kind == "softmax":
            return softmax_loss_of_rows(users, items, self._rows(interaction), item, self._candidates())
        negatives = interaction["negatives"]
        if self.kind == "bpr":
            return bpr_loss(users, items, user, item, negatives)
        return ultragcn_loss(users, items, user, item, negatives, self.weights, self.negative_weight)

    def _rows(self, interaction: Any) -> RowsByUser:
        """Returns the rows of a batch by user, which several losses on the same batch share."""
        rows: RowsByUser | None = getattr(interaction, "rows_by_user", None)
        if rows is None:
            rows = RowsByUser.of(column_on_host(interaction, self.user_field), self.known.device)
            interaction.rows_by_user = rows
        return rows

    def _candidates(self) -> Tensor:
        """Returns distinct items in ascending order."""
        if not 0 < self.n_candidates < self.known.numel():
            return self.known
        drawn = torch.randint(self.known.numel(), (self.n_candidates,), generator=self.generator)
        return self.known[moved(torch.unique(drawn), self.known.device)]

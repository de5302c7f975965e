"""UltraGCN, with and without item features."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recbole_painvrl.model.fusion_recommender import FusionRecommender
from recbole_painvrl.model.loss import item_graph_loss, item_item_graph
from recbole_painvrl.model.touched import Gathered


class UltraGCN(FusionRecommender):
    """UltraGCN: the limit of infinitely many graph convolutions, approximated by weights in the loss.

    ``L = mean over the batch of [w+ softplus(-s_ui) + R mean_j w- softplus(s_uj)] + regularizers
    + graph_weight * item-item term``. Item features enter as in InvRL, by one linear projection beside the id.

    Source: Mao et al., UltraGCN, CIKM 2021, equations 9 to 13 (``negative_weight`` is R, ``loss_weights`` are w1 to w4,
    ``graph_weight`` is lambda, ``graph_neighbors`` is K); features as in Du et al., InvRL, ACM MM 2022.

    Note:
        The loss is a mean over the batch where the papers' code sums, so that no weight depends on the batch size.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.graph_weight = float(config["graph_weight"])
        if self.graph_weight:
            user, item = self._training_pairs(dataset)
            neighbors, omega = item_item_graph(user, item, self.n_users, self.n_items, int(config["graph_neighbors"]))
            self.register_buffer("neighbors", neighbors, persistent=False)
            self.register_buffer("omega", omega, persistent=False)

    def touched(self, interaction: Any) -> Gathered | None:
        """Returns what a step looks at if these items are few; the item-item term looks at neighbors beside them."""
        return None if self.graph_weight else super().touched(interaction)

    def ranking_loss(
        self, interaction: Any, content: Tensor | None, dropped: Tensor | None, touched: Gathered | None = None
    ) -> Tensor:
        """Returns the constraint loss plus, where ``graph_weight`` is set, the item-item term."""
        if not self.graph_weight:
            return super().ranking_loss(interaction, content, dropped, touched)
        users, items = self.scoring_tables(content, dropped)
        user, item = interaction[self.USER_ID], interaction[self.ITEM_ID]
        loss = self.objective(users, items, interaction, user, item)
        return loss + self.graph_weight * item_graph_loss(users, items, user, item, self.neighbors, self.omega)

    def table_decay(self, table: Tensor) -> float:
        """Returns the weight decay that adds ``reg_weight |table|^2``: UltraGCN sums over the whole tables."""
        return 2 * self.reg_weight

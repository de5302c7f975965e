"""BM3: representations that predict each other's dropped-out views, without negatives.

Letters: B batch, U users, I items (row 0 of both is RecBole's padding), D_m feature width of a modality,
d embedding width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_painvrl.model.batch import whole_batch
from recbole_painvrl.model.modality_recommender import ModalityRecommender
from recbole_painvrl.model.propagation import normalized_adjacency, propagate
from recbole_painvrl.model.transfer import moved


class BM3(ModalityRecommender):
    """LightGCN's vectors and projected features, bootstrapped: each predicts views of others that gradients stop at.

    Representations: ``h_u`` and ``h_i``, means of LightGCN's layers, an item's plus its id; ``h_m = W_m x + b_m`` for
    each modality. Views: ``h'`` is h with a share ``dropout_prob`` of its entries left out, and ``p(h)`` a linear
    predictor, one for all. With ``C(a, b) = 1 - cos(a, sg(b))``, where no gradient passes sg, a training interaction
    costs ``C(p(h_u), h_i') + C(p(h_i), h_u')``, which reconstructs the graph, plus ``modality_loss_weight`` (lambda)
    times ``C(p(h_m), h_i') + C(p(h_m), h_m')`` for each modality, which aligns modalities with ids and with themselves;
    plus an L2 term on h_u and h_i. The score is ``<p(h_u), p(h_i)>``.

    The loss is its own: there are no negatives, and ``rec_loss`` does not apply. Features train the ids and the
    predictor but are not in the score, where an item without any interaction keeps its initial id.

    Source: Zhou, Zhou, Liu, Zeng, Miao, Wang, You and Jiang, "Bootstrap Latent Representations for Multi-modal
    Recommendation", WWW 2023 (arXiv 2207.05969): its sections on the contrastive view generator, the multi-modal
    contrastive loss and top-K recommendation.

    Deviations:
        C starts from 1 and not from 0, which changes no gradient.
        Entries are left out of the rows of a batch and not of whole tables, so that a user who occurs twice in a batch
        has two views there.
        ``reg_weight`` acts on the mean squared length of the batch's h_u and h_i, halved; a public port takes the
        lengths of the whole tables over a batch size that is none (a number of rows, the padding's included).
        Features are data: public ports train them.
    """

    own_loss = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers = int(config["n_layers"])
        self.dropout_prob = float(config["dropout_prob"])
        self.modality_loss_weight = float(config["modality_loss_weight"])
        self.user_embedding = nn.Embedding(self.n_users, self.embedding_size)
        self.item_embedding = nn.Embedding(self.n_items, self.embedding_size)
        widths = [block.stop - block.start for block in self.content.blocks]
        self.projections = nn.ModuleList(nn.Linear(width, self.embedding_size) for width in widths)
        self.predictor = nn.Linear(self.embedding_size, self.embedding_size)
        adjacency = normalized_adjacency(self.train_users, self.train_items, self.n_users, self.n_items)
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.reset_parameters()

    def representations(self) -> tuple[Tensor, Tensor]:
        """Returns ``h`` of users [U, d] and of items [I, d]."""
        ids = self.item_embedding.weight
        both = propagate(self.adjacency, torch.cat([self.user_embedding.weight, ids]), self.n_layers)
        return both[: self.n_users], both[self.n_users :] + ids

    def tables(self) -> tuple[Tensor, Tensor]:
        """Returns the predictions from users [U, d] and from items [I, d], whose inner products are the scores."""
        users, items = self.representations()
        return self.predictor(users), self.predictor(items)

    def view(self, rows: Tensor, interaction: Any = None) -> Tensor:
        """Returns the rows [B, d] with entries left out at random; no gradient passes, and cosines need no scale.

        Of a part of a batch, ``interaction``, the entries are those that the whole batch would lack.
        """
        batch, own = whole_batch(rows if interaction is None else interaction)
        kept = torch.rand(len(batch), rows.shape[1], generator=self.noise)[own] >= self.dropout_prob
        return rows.detach() * moved(kept, rows.device)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Returns the mean loss a training interaction."""
        item = interaction[self.ITEM_ID]
        users, items = self.representations()
        of_user, of_item = users[interaction[self.USER_ID]], items[item]
        user_view, item_view = self.view(of_user, interaction), self.view(of_item, interaction)
        loss = cost(self.predictor(of_user), item_view) + cost(self.predictor(of_item), user_view)
        for projection, features in zip(self.projections, self.features().values(), strict=True):
            content = projection(features[item])
            predicted = self.predictor(content)
            aligned = cost(predicted, item_view) + cost(predicted, self.view(content, interaction))
            loss = loss + self.modality_loss_weight * aligned
        return loss + self.batch_penalty(users, items, interaction)


def cost(predicted: Tensor, view: Tensor) -> Tensor:
    """Returns the mean of ``1 - cos`` over rows [B, d]."""
    return 1 - F.cosine_similarity(predicted, view, dim=1).mean()

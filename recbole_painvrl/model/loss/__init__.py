"""Ranking losses on a table of users and a table of items, with gradients into both."""

from recbole_painvrl.model.loss.bpr import bpr_loss
from recbole_painvrl.model.loss.item_graph import item_graph_loss, item_item_graph
from recbole_painvrl.model.loss.scores import sampled_scores
from recbole_painvrl.model.loss.softmax import RowsByUser, softmax_loss, softmax_loss_of_rows
from recbole_painvrl.model.loss.ultragcn import UltraGCNWeights, ultragcn_loss, ultragcn_weights

__all__ = [
    "RowsByUser",
    "UltraGCNWeights",
    "bpr_loss",
    "item_graph_loss",
    "item_item_graph",
    "sampled_scores",
    "softmax_loss",
    "softmax_loss_of_rows",
    "ultragcn_loss",
    "ultragcn_weights",
]

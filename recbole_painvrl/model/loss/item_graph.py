"""UltraGCN's item-item term: a user who chose an item should also like the items often chosen together with it.

Letters: U users, I items, d embedding width, B batch, K neighbors.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix, spmatrix
from torch import Tensor
from torch.nn import functional

from recbole_painvrl.model.loss.scores import mean_over_rows, sampled_scores
from recbole_painvrl.model.sparse import distinct_pairs


def item_graph_loss(
    users: Tensor, items: Tensor, user: Tensor, positive: Tensor, neighbors: Tensor, omega: Tensor
) -> Tensor:
    """Returns the mean over the batch of sum_k omega_ik softplus(-s_uk) over the neighbors k of the chosen item i.

    Args:
        users: User vectors [U, d].
        items: Item vectors [I, d].
        user: User of each row [B].
        positive: Item that the user chose [B].
        neighbors: Neighbors of each item [I, K], see `item_item_graph`.
        omega: Their weights [I, K]; 0 where an item has fewer than K.

    Source: Mao et al., UltraGCN, CIKM 2021, equation 13.
    """
    scores = sampled_scores(users, items, user, neighbors[positive])
    return mean_over_rows((functional.softplus(-scores) * omega[positive]).sum(dim=1))


def item_item_graph(
    user: Tensor, item: Tensor, n_users: int, n_items: int, n_neighbors: int, block: int = 512
) -> tuple[Tensor, Tensor]:
    """Returns the neighbors [I, K] of each item and their weights omega [I, K], the largest first.

    ``omega_ik = G_ik sqrt(g_i + 1) / g_i / sqrt(g_k + 1)``: G_ik counts the users of both items, g_i is the sum of row
    i. Memory follows the items and the neighbors found for one block of them. Equal weights are ordered by item; where
    an item has fewer than K neighbors the rest are item 0 with the weight 0.

    Args:
        user: Users of the training interactions [n].
        item: Their items [n].
        n_users: U.
        n_items: I.
        n_neighbors: K.
        block: Items whose neighbors are sought together.

    Note:
        As in the published code, the diagonal of G is kept, so most items are their own first neighbor; the paper's
        equation 11 takes it out of g_i.

    Source: Mao et al., UltraGCN, CIKM 2021, equations 11 and 12, and its published code.
    """
    user, item = distinct_pairs(user.cpu(), item.cpu(), n_items)
    chosen = csr_matrix((np.ones(len(user)), (user.numpy(), item.numpy())), shape=(n_users, n_items))
    by_item = chosen.T.tocsr()
    sums = by_item @ (chosen @ np.ones(n_items))
    own, other = np.sqrt(sums + 1) / np.maximum(sums, 1), 1 / np.sqrt(sums + 1)
    parts = []
    for start in range(0, n_items, block):
        counts = (by_item[start : start + block] @ chosen).multiply(other[None, :]).tocsr()
        parts.append(_largest(counts, own[start : start + block], n_neighbors))
    neighbors, omega = (np.concatenate(sides) for sides in zip(*parts, strict=True))
    return torch.from_numpy(neighbors), torch.from_numpy(omega)


def _largest(counts: spmatrix, row_factor: np.ndarray, n_kept: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns column and value [R, K] of the largest entries of each sparse row times its factor [R]."""
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    order = np.lexsort((counts.indices, -counts.data, row))
    rank = np.arange(len(order)) - counts.indptr[row]  # lexsort keeps each row at its place
    kept = rank < n_kept
    columns = np.zeros((counts.shape[0], n_kept), dtype=np.int64)
    values = np.zeros(columns.shape, dtype=np.float32)
    place, source = (row[kept], rank[kept]), order[kept]
    columns[place] = counts.indices[source]
    values[place] = counts.data[source] * row_factor[row[kept]]
    return columns, values

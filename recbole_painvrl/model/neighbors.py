"""Items of similar content.

Letters: I items, D feature width, R items asked about, k neighbors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

COSINES = 2**24  # held at once, 64 MB; a product of so many is as fast as one of more
MOST = 512  # rows of one product


def neighbor_graph(
    features: Tensor,
    n_neighbors: int,
    rows: Tensor | None = None,
    pool: Tensor | None = None,
    block: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the items [R, k] with the most similar features, the nearest first, and their cosines [R, k].

    Memory is the tables and one block's similarities [block, I]. An item without features (a row of zeros, such as the
    padding) is nobody's neighbor and has none; missing neighbors are item 0 with the weight 0.

    Args:
        features: Item features [I, D].
        n_neighbors: k, the item itself not counted.
        rows: Items whose neighbors are sought [R]; None asks about all of them.
        pool: bool [I], the items that may be neighbors; None admits all.
        block: Items whose neighbors are sought together; None takes as many as :data:`COSINES` allow.

    Source: Zhang et al., "Mining Latent Structures for Multimedia Recommendation", ACM MM 2021, equations 1 and 2.
    """
    unit = functional.normalize(features, dim=1)
    empty = torch.linalg.vector_norm(features, ord=torch.inf, dim=1) == 0
    rows = torch.arange(len(unit), device=unit.device) if rows is None else rows
    excluded = empty if pool is None else empty | ~pool
    block = block or max(1, min(MOST, COSINES // len(unit)))
    parts = [_nearest(unit, empty, excluded, part, n_neighbors) for part in rows.split(block)]
    index, weight = (torch.cat(sides) for sides in zip(*parts, strict=True))
    return index, weight


def _nearest(unit: Tensor, empty: Tensor, excluded: Tensor, rows: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
    """Returns the neighbors [R, k] and cosines [R, k] of the items ``rows`` [R]."""
    cosine = unit[rows] @ unit.t()
    cosine[:, excluded] = -torch.inf
    cosine[empty[rows]] = -torch.inf
    cosine[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
    weight, index = cosine.topk(min(n_neighbors, len(unit)), dim=1)
    missing = (0, n_neighbors - weight.shape[1])
    weight, index = functional.pad(weight, missing, value=-torch.inf), functional.pad(index, missing)
    absent = weight == -torch.inf
    return index.masked_fill(absent, 0), weight.masked_fill(absent, 0.0)

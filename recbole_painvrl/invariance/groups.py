"""Columns that share one gate: a mask over groups has fewer numbers to learn, and less noise in each.

Letters: I items, D feature width, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor


def modality_groups(blocks: Sequence[tuple[int, int]]) -> Tensor:
    """Returns the group [D] of each column where a modality's columns ``[start, stop)`` make one group."""
    widths = torch.tensor([stop - start for start, stop in blocks])
    return torch.repeat_interleave(torch.arange(len(blocks)), widths)


def correlated_groups(features: Tensor, blocks: Sequence[tuple[int, int]], n_groups: int) -> Tensor:
    """Returns the group [D] of each column: in each modality ``n_groups`` at the most, of columns that go together.

    Columns are merged by average linkage on ``1 - |correlation|`` over the items, as an encoder spreads what it sees
    over many columns of either sign. A column that does not vary is correlated with none.

    Args:
        features: item features [I, D], row 0 is padding and left out.
        blocks: columns ``[start, stop)`` of each modality.
        n_groups: most groups of a modality; it has fewer where it has fewer columns.
    """
    groups: list[Tensor] = []
    for start, stop in blocks:
        own = _merged(features[1:, start:stop], n_groups)
        groups.append(own + (int(groups[-1].max()) + 1 if groups else 0))
    return torch.cat(groups)


def _merged(columns: Tensor, n_groups: int) -> Tensor:
    """Returns the group [D_m] of each column of ``columns`` [I, D_m], counted from 0."""
    width = columns.shape[1]
    if width <= n_groups:
        return torch.arange(width)
    if n_groups == 1:
        return torch.zeros(width, dtype=torch.long)
    centered = columns.double() - columns.double().mean(0)
    unit = torch.nn.functional.normalize(centered, dim=0)
    distance = (1 - (unit.t() @ unit).abs()).clamp(0, 1).cpu()
    distance = ((distance + distance.t()) / 2).fill_diagonal_(0)
    tree = linkage(squareform(distance.numpy(), checks=False), method="average")
    found = fcluster(tree, n_groups, criterion="maxclust")
    numbers: Tensor = torch.unique(torch.from_numpy(found).long(), return_inverse=True)[1]
    return numbers


def pooled(values: Tensor, groups: Tensor | None, n_groups: int) -> Tensor:
    """Returns the sums [G] of a gradient by columns [D] over each group's columns, or ``values`` without groups."""
    if groups is None:
        return values
    return values.new_zeros(n_groups).index_add_(0, groups, values)

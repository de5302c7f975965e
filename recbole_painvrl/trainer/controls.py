"""Honest controls: the method with the knowledge taken out of one of its modules, and everything else the same."""

from __future__ import annotations

import torch
from torch import Tensor

CONTROLS = ("none", "labels", "mask")


def permuted_labels(labels: Tensor, units: Tensor | None, source: torch.Generator) -> Tensor:
    """Deals the environments out again at random, as many units to each as before.

    Args:
        labels: environment of each interaction, long [n].
        units: unit of each interaction, long [n]; interactions of one unit share a label and keep sharing one. None
            permutes the interactions by themselves.
        source: where the permutation is drawn from.
    """
    if units is None:
        return labels[torch.randperm(len(labels), generator=source).to(labels.device)]
    found, unit = torch.unique(units, return_inverse=True)
    of_unit = labels.new_zeros(len(found))
    of_unit[unit] = labels
    return of_unit[torch.randperm(len(found), generator=source).to(labels.device)][unit]


def permuted_mask(mask: Tensor, blocks: list[tuple[int, int]], source: torch.Generator) -> Tensor:
    """Returns the mask [D] with its values dealt out again within each modality's columns ``[start, stop)``."""
    order = torch.cat([start + torch.randperm(stop - start, generator=source) for start, stop in blocks])
    return mask[order.to(mask.device)]

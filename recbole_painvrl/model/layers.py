"""Small layers that more than one recommender uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BranchAttention(nn.Module):
    """How much of an item's content comes from its invariant and how much from its variant representation.

    ``(a_I, a_V) = softmax(q . tanh(h_I) + b_I, q . tanh(h_V) + b_V)``, one pair of weights an item.

    Source: the PaInvRL paper says that attention weighs the two representations, not how; this form is ours.

    Args:
        size: width k of both representations.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(size))
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, invariant: Tensor, variant: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the weights a_I and a_V, both [I, 1], which sum to one, for representations [I, k]."""
        energy = torch.stack([invariant.tanh() @ self.query, variant.tanh() @ self.query], dim=1) + self.bias
        weight = energy.softmax(dim=1)
        return weight[:, :1], weight[:, 1:]

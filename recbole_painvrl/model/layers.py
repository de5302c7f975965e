"""Small layers that more than one recommender uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCK_ROWS = 8192  # of items, whose representations are looked at together


class BranchAttention(nn.Module):
    """How much of an item's content comes from its invariant and how much from its variant representation.

    ``(a_I, a_V) = softmax(q . tanh(h_I), q . tanh(h_V))``, one pair of weights an item, where the difference of the two
    energies is taken from its mean over the items: attention tells items apart, while how much the branches weigh as a
    whole is the projections' business. With that left to attention too, training shuts the variant branch for good:
    its gradients carry the factor a_V, so a branch that falls behind gets no chance to catch up.

    Source: the PaInvRL paper says that attention weighs the two representations, not how; this form is ours.

    Args:
        size: width k of both representations.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(size))

    def forward(self, invariant: Tensor, variant: Tensor, typical: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the weights a_I and a_V, both [I, 1], which sum to one, for representations [I, k].

        Args:
            invariant: Invariant representations [I, k].
            variant: Variant ones [I, k].
            typical: Rows [C] that stand for all items in the mean, where the others were not chosen uniformly; None for
                all rows.
        """
        energy = self._energy(invariant, variant)
        mean = (energy if typical is None else energy[typical]).mean()
        share = (energy - mean).sigmoid()[:, None]
        return share, 1 - share

    def _energy(self, invariant: Tensor, variant: Tensor) -> Tensor:
        """Returns the difference of the energies [I]; block by block where no gradient wants the blocks kept."""
        size = max(len(invariant), 1) if torch.is_grad_enabled() else BLOCK_ROWS
        blocks = zip(invariant.split(size), variant.split(size), strict=True)
        return torch.cat([(one.tanh() - other.tanh()) @ self.query for one, other in blocks])

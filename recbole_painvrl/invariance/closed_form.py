"""Derivatives of a penalty by mask and projection in closed form: no graph over rows, one more look at each row.

A penalty depends on the rows through the environments' terms alone. Its derivative by these few numbers is a direction
``A_e`` for the gradients ``Gamma_e`` and a factor for the mean losses and for the scale's derivatives. What the rows
add is then a product of the loss's second derivatives with the scores' change along ``A_e``, which has the form of
``Gamma_e`` again. E environments, k and D the sides of the projection.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .estimate import RunningSquare, estimated
from .frozen import FrozenRecommender
from .losses import EnvironmentBatch, PairLoss, Scores
from .penalty import EnvironmentTerms, Penalty
from .rows import Rows


class PenalizedBatch:
    """Terms of a batch at one projection, and what a penalty on them has for derivative.

    Args:
        frozen: Tables without scale and bias.
        batch: Rows of each environment and the shared candidates.
        projection: Masked projection ``W diag(m)``, [k, D].
        loss: Loss of a row.
        penalty: The penalty.

    Attributes:
        terms: The terms; no graph hangs on them.
    """

    @torch.no_grad()
    def __init__(
        self, frozen: FrozenRecommender, batch: EnvironmentBatch, projection: Tensor, loss: PairLoss, penalty: Penalty
    ) -> None:
        self.batch, self.loss, self.penalty, self.rows = batch, loss, penalty, Rows.of(frozen, batch)
        self.scores = self.rows.scores(projection)
        self.pairs = loss(*self.scores, batch)
        self.terms = EnvironmentTerms.of(self.rows, batch, self.scores, self.pairs, penalty.by_scale)

    def estimate(self, mask: Tensor, projection: Tensor, memory: RunningSquare) -> tuple[float, Tensor]:
        """Returns the estimated penalty and its derivative by the mask.

        Args:
            mask: m, [D].
            projection: W without the mask, [k, D].
            memory: Estimates from the batches so far; takes this one in.
        """
        terms = EnvironmentTerms(*[part.detach().requires_grad_() for part in self.terms])
        mask = mask.detach().requires_grad_()
        with torch.enable_grad():
            value = estimated(self.penalty, self.penalty.contrasts(terms), mask, memory)
            on_mask, *on_terms = torch.autograd.grad(value, [mask, *terms], allow_unused=True)
        by_mask = (self._by_projection(*on_terms) * projection.detach()).sum(dim=0)
        return float(value.detach()), by_mask if on_mask is None else by_mask + on_mask

    @torch.no_grad()
    def _by_projection(self, on_losses: Tensor | None, along: Tensor | None, on_scales: Tensor | None) -> Tensor:
        """The derivative [k, D] by the masked projection, for those by the terms [E], [E, k, D] and [E]."""
        gradients = self.terms.gradients
        moved = torch.zeros_like(gradients[0])
        for factor in (on_losses, on_scales):
            if factor is not None:
                moved += torch.tensordot(factor, gradients, dims=1)
        if along is None and on_scales is None:
            return moved
        curved = self.loss.curvature(self.scores, self._change(along, on_scales), self.pairs, self.batch)
        return moved + self.rows.pulled_back_together(curved)

    def _change(self, along: Tensor | None, factors: Tensor | None) -> Scores:
        """How the scores change along ``along`` [E, k, D] plus ``factors`` [E] of themselves, times the rows' weights.

        The curvature is linear in the change, and here the weights meet a smaller table than they would after it.
        """
        weights = self.batch.weights
        moved = None if along is None else self.rows.change(along, weights)
        if factors is None:
            assert moved is not None
            return moved
        weights = weights * factors[:, None]
        positive, negative = weights * self.scores[0], weights[..., None] * self.scores[1]
        return (positive, negative) if moved is None else (positive + moved[0], negative + moved[1])

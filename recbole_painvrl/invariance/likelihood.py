"""How well each environment's projection explains each interaction, in blocks that bound the memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .sampling import Interactions

BLOCK = 4_000_000  # numbers a block may hold: 16 MB in single precision


def row_evidence(
    frozen: FrozenRecommender, interactions: Interactions, projections: Tensor, candidates: Tensor, likelihood: bool
) -> Tensor:
    """Returns the evidence [E, n] of each environment for each interaction.

    Args:
        frozen: Tables without scale and bias.
        interactions: Interactions, [n].
        projections: [E, k, D].
        candidates: [N] items the normalizer is estimated from; exact if these are all items.
        likelihood: Whether the evidence is the log-likelihood of the item; else its score.
    """
    # one environment after the other: the projected items of all of them are larger than most models
    found = [_evidence(frozen, interactions, one[None], candidates, likelihood) for one in projections]
    return torch.cat(found)


def _evidence(
    frozen: FrozenRecommender, interactions: Interactions, projections: Tensor, candidates: Tensor, likelihood: bool
) -> Tensor:
    """Returns the evidence [E, n] of some environments, all at once; arguments are those of ``row_evidence``."""
    projected = frozen.features @ projections.mT
    scores = _own_scores(frozen, interactions, projected)
    if not likelihood:
        return scores
    users, user_of_row = torch.unique(interactions.users, return_inverse=True)
    normalizer = _log_normalizer(frozen, users, projected, candidates)[:, user_of_row]
    drawn = torch.zeros(frozen.n_items + 1, dtype=torch.bool, device=candidates.device)
    drawn[candidates] = True
    counted = drawn[interactions.items]
    return scores - torch.where(counted, normalizer, torch.logaddexp(normalizer, scores))


def _own_scores(frozen: FrozenRecommender, interactions: Interactions, projected: Tensor) -> Tensor:
    """Score of each interaction [E, n] for projected items [E, I, k]."""
    n_environments, _, width = projected.shape
    block = max(1, BLOCK // (n_environments * width))
    blocks = []
    for users, items in zip(interactions.users.split(block), interactions.items.split(block), strict=True):
        content = torch.einsum("bk,ebk->eb", frozen.user_feature[users], projected[:, items])
        blocks.append(content + (frozen.user_id[users] * frozen.item_id[items]).sum(dim=-1))
    return torch.cat(blocks, dim=1)


def _log_normalizer(frozen: FrozenRecommender, users: Tensor, projected: Tensor, candidates: Tensor) -> Tensor:
    """Logarithm of the softmax's normalizer for each user [E, U'], estimated from the candidates."""
    n_environments, n_candidates = projected.shape[0], candidates.shape[0]
    identities, content = frozen.item_id[candidates].T, projected[:, candidates].mT
    blocks = [
        torch.logsumexp(frozen.user_id[block] @ identities + frozen.user_feature[block] @ content, dim=-1)
        for block in users.split(max(1, BLOCK // (n_environments * n_candidates)))
    ]
    return torch.cat(blocks, dim=1) + math.log(frozen.n_items / n_candidates)

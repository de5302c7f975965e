"""How well each environment's projection explains each interaction, in blocks that bound the memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_painvrl.products import pair_products

from .frozen import FrozenRecommender
from .sampling import Interactions

BLOCK = 1_000_000  # numbers a block may hold: 4 MB in single precision


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
    # One environment after the other: the projected items of all of them are larger than most models, and so is what
    # all interactions need in between.
    identity = dots(frozen.user_id, frozen.item_id, interactions)
    scores = (dots(frozen.user_feature, frozen.features @ one.T, interactions).add(identity) for one in projections)
    if not likelihood:
        return torch.stack(list(scores))
    users, user_of_row = torch.unique(interactions.users, return_inverse=True)
    drawn = torch.zeros(frozen.n_items + 1, dtype=torch.bool, device=candidates.device)
    drawn[candidates] = True
    others = ~drawn[interactions.items]
    normalizers = (one[user_of_row] for one in _log_normalizer(frozen, users, projections, candidates))
    evidence = zip(scores, normalizers, strict=True)
    return torch.stack([own - torch.where(others, torch.logaddexp(rest, own), rest) for own, rest in evidence])


def dots(of_users: Tensor, of_items: Tensor, interactions: Interactions) -> Tensor:
    """Product [n] of the vectors of each interaction's user and item."""
    block = max(1, BLOCK // of_items.shape[1])
    pairs = zip(interactions.users.split(block), interactions.items.split(block), strict=True)
    return torch.cat([pair_products(of_users, of_items, users, items) for users, items in pairs])


def _log_normalizer(frozen: FrozenRecommender, users: Tensor, projections: Tensor, candidates: Tensor) -> Tensor:
    """Logarithm of the softmax's normalizer for each user [E, U'], estimated from the candidates."""
    identities, features = frozen.item_id[candidates].T, frozen.features[candidates]
    contents = [(features @ one.T).T for one in projections]
    blocks = []
    for block in users.split(max(1, BLOCK // candidates.shape[0])):
        identity, tastes = frozen.user_id[block] @ identities, frozen.user_feature[block]
        blocks.append(torch.stack([torch.addmm(identity, tastes, content).logsumexp(dim=1) for content in contents]))
    return torch.cat(blocks, dim=1) + math.log(frozen.n_rivals / candidates.shape[0])

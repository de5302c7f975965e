"""A model's score of a user and an item as a sum of parts: id, each modality's content, profiles.

Letters: U users, I items (row 0 of both is RecBole's padding), P parts, D total feature width, d width of the id part,
k width of the content part, w width of a part, C new items, K neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.content import Block
from recbole_painvrl.model.fusion_recommender import FusionRecommender
from recbole_painvrl.model.general_recommender.mf import MF
from recbole_painvrl.model.general_recommender.painvrl import PaInvRL

DECOMPOSED = ("ERM", "UltraGCN", "InvRL", "PaInvRL", "MF")
SMALLEST_NORM = 1e-12  # as in torch's normalize, so that parts are scaled as scores are


class Name(NamedTuple):
    """What a part is.

    Attributes:
        kind: ``id``; ``users`` (what propagation brings of users' vectors into the content columns of an item);
            ``content`` (projected features); ``bias`` (of the projection); ``profile`` (features compared directly).
        modality: Of content and profiles, else None.
        branch: ``invariant`` or ``variant`` where a mask divides the features, else None.
    """

    kind: str
    modality: str | None = None
    branch: str | None = None

    def __str__(self) -> str:
        """Returns it as a label, such as ``visual invariant``."""
        kind = None if self.kind == "content" else self.kind
        return " ".join(word for word in (kind, self.modality, self.branch) if word)


@dataclass(frozen=True)
class ScorePart:
    """One part of every score: ``<users[u], items[i]>``; the parts of a model add up to its scores.

    Attributes:
        name: What it is.
        users: [U, w].
        items: [I, w].
        alike: [I, w], rows whose cosine says how much two items share the part: of content the projected features less
            the average item's, before attention and propagation, since raw features have much in common; of profiles
            the features that these compare; else ``items``.
    """

    name: Name
    users: Tensor
    items: Tensor
    alike: Tensor

    def scores(self, user: int) -> Tensor:
        """Returns the part of the user's score of each item [I]."""
        return self.items @ self.users[user]


class Branch(NamedTuple):
    """A linear map of masked features: ``factor * (weight (features))``.

    Attributes:
        name: ``invariant``, ``variant`` or None.
        features: [I, D].
        weight: [k, D].
        factor: [I, 1].
    """

    name: str | None
    features: Tensor
    weight: Tensor
    factor: Tensor


@torch.no_grad()
def score_parts(model: Any) -> list[ScorePart]:
    """Takes a model's scores apart.

    Everything before the score is linear in the item's id and features: projection, the convert module at its own
    attention weights, propagation, and the mean of neighbors that a new item takes. The lengths that a cosine divides
    by, and the one that a new item's mean is scaled to, are those of the whole vectors. The user's vector is not taken
    apart: a part of a score is what the user's whole vector sees of that part of the item.

    Returns:
        The parts, whose sum is the score that ``full_sort_predict`` gives, up to rounding.

    Raises:
        UserError: The scores of this model are no such sum.
    """
    if isinstance(model, FusionRecommender):
        return _vector_parts(model) + _profile_parts(model)
    if isinstance(model, MF):
        users, items = (table.detach() for table in model.tables())
        return [ScorePart(Name("id"), users, items, items)]
    raise UserError(
        f"--explain: the scores of {type(model).__name__} are no sum of an id part and parts of the modalities; "
        f"expected a run of {', '.join(DECOMPOSED)}"
    )


def _vector_parts(model: FusionRecommender) -> list[ScorePart]:
    """Returns the parts of the inner product of the two vectors, scaled to a cosine where the model does so."""
    both = model.vectors(model.item_content() if model.feature_size else None)
    users, items = (table.detach() for table in both)  # where nothing is propagated they may be parameters themselves
    split = model.embedding_size
    tables = {Name("id"): items[:, :split]} | (_content_tables(model) if model.feature_size else {})
    alike = _projected(model) if model.feature_size else {}
    if model.temperature:
        users = F.normalize(users, dim=1) / model.temperature
        lengths = items.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
        tables = {name: table / lengths for name, table in tables.items()}
        items = items / lengths
    if model.feature_size and model.new_items == "neighbors" and len(model.new):
        tables = _with_neighbors(model, tables, items)
    sides = {True: users[:, :split], False: users[:, split:]}
    return [ScorePart(name, sides[name.kind == "id"], table, alike.get(name, table)) for name, table in tables.items()]


def _content_tables(model: FusionRecommender) -> dict[Name, Tensor]:
    """Returns the shares [I, k] of the content columns of all items, after propagation."""
    own = model.user_embedding.weight[:, model.embedding_size :]
    nobody, nothing = torch.zeros_like(own), own.new_zeros(model.n_items, own.shape[1])
    tables = {Name("users"): model.propagated(own, nothing)[1]} if model.n_layers else {}
    branches = _branches(model)
    for block, one in product(model.content.blocks, branches):
        content = one.factor * _of_block(one, block)
        tables[Name("content", block.name, one.name)] = model.propagated(nobody, content)[1]
    tables[Name("bias")] = model.propagated(nobody, branches[0].factor * model.projection.bias)[1]
    return tables


def _projected(model: FusionRecommender) -> dict[Name, Tensor]:
    """Returns each modality's projected features less the average item's [I, k]; items without any keep zeros."""
    tables = {}
    for block, one in product(model.content.blocks, _branches(model)):
        rows = _of_block(one, block)
        tables[Name("content", block.name, one.name)] = (rows - rows[1:].mean(0)) * rows.any(dim=1, keepdim=True)
    return tables


def _of_block(branch: Branch, block: Block) -> Tensor:
    """Returns what the columns of one modality become [I, k], without the branch's factor."""
    columns = slice(block.start, block.stop)
    return branch.features[:, columns] @ branch.weight[:, columns].T


def _branches(model: FusionRecommender) -> list[Branch]:
    """Returns how features become content; the bias of the projection belongs to the first branch."""
    x, weight = model.content(), model.projection.weight
    all_of_it = x.new_ones(len(x), 1)
    if not isinstance(model, PaInvRL):
        return [Branch(None, x, weight, all_of_it)]
    if not model.converts:
        return [Branch("invariant" if model.final else None, x * model.mask, weight, all_of_it)]
    kept, rest = x * model.mask, x * (1 - model.mask)
    a_kept, a_rest = model.attention(model.projection(kept), model.variant_projection(rest))
    return [
        Branch("invariant", kept, weight, 2 * a_kept),
        Branch("variant", rest, model.variant_projection.weight, 2 * model.rho * a_rest),
    ]


def _with_neighbors(model: FusionRecommender, tables: dict[Name, Tensor], items: Tensor) -> dict[Name, Tensor]:
    """Returns the tables [I, w] with each new item's row replaced by the mean of its neighbors' rows.

    All new items are asked about at once, as the model does it: a tie between neighbors then falls the same way.

    Args:
        model: The model.
        tables: The parts.
        items: What they add up to [I, d + k].
    """
    index, weight = model.new_item_neighbors(model.content, model.similarity_mask(), model.new, model.warm)
    weight = weight.clamp_min(0).unsqueeze(2)
    whole = (items[index] * weight).sum(dim=1)
    length = model.new_item_length * items[model.warm].norm(dim=1).mean()
    scale = length / whole.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    return {
        name: table.index_copy(0, model.new, (table[index] * weight).sum(dim=1) * scale)
        for name, table in tables.items()
    }


def _profile_parts(model: FusionRecommender) -> list[ScorePart]:
    """Returns the parts of the profile term, the cosine of an item's features and the user's mean past features."""
    if not (model.feature_size and model.profiled):
        return []
    similar = model.content.similarity_features(model.similarity_mask())
    no_vectors = similar.new_zeros(model.n_users, 0), similar.new_zeros(model.n_items, 0)
    users, items = model._with_profiles(*no_vectors, similar)
    parts = []
    for block in model.content.blocks:
        columns = slice(block.start, block.stop)
        for branch, share in _similarity_shares(model).items():
            kept = share[columns]
            name = Name("profile", block.name, branch)
            parts.append(ScorePart(name, users[:, columns], items[:, columns] * kept, similar[:, columns] * kept))
    return parts


def _similarity_shares(model: FusionRecommender) -> dict[str | None, Tensor]:
    """Returns by branch the share [D] of each similarity column ``(m + rho (1 - m)) x`` that is the branch's."""
    whole = torch.ones(model.content.dimension, device=model.device)
    if not isinstance(model, PaInvRL) or not model.final:
        return {None: whole}
    if model.conversion == "mask":
        return {"invariant": whole}
    invariant = model.mask / model.similarity_mask().clamp_min(SMALLEST_NORM)
    return {"invariant": invariant, "variant": 1 - invariant}  # of nothing where neither the mask nor rho keeps any

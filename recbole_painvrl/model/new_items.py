"""Content compared directly: neighbors for items that nobody has interacted with yet, and profiles of users.

Letters: U users, I items, n interactions, D feature width, d width of the scoring table, C new items, K neighbors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_painvrl.allocator import return_freed_memory
from recbole_painvrl.model.content import ContentFeatures
from recbole_painvrl.model.neighbors import neighbor_graph


class NewItemNeighbors:
    """The known items whose content is nearest to each new item's, sought again only when contents have changed.

    Args:
        n_neighbors: K.
    """

    def __init__(self, n_neighbors: int) -> None:
        self.n_neighbors = n_neighbors
        self._found: tuple[Tensor, Tensor] | None = None
        self._of: tuple[Tensor, Tensor | None] | None = None

    def __call__(
        self,
        content: ContentFeatures,
        mask: Tensor | None,
        new: Tensor,
        known: Tensor,
        similar: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Returns the neighbors [C, K] of the new items, the nearest first, and their cosines [C, K].

        Args:
            content: the items' features; where words are among them, which are learned, nothing is kept.
            mask: [D], what the features are multiplied by; None keeps all columns.
            new: indices of the new items [C], at least one.
            known: bool [I], the items to learn from.
            similar: what ``content.similarity_features(mask)`` gives, where the caller has it already.
        """
        if self._found is None or not self._current(content, mask):
            return_freed_memory()
            similar = content.similarity_features(mask) if similar is None else similar
            self._found = neighbor_graph(similar, self.n_neighbors, rows=new, pool=known)
            self._of = (content.whitened, None if mask is None else mask.clone())
            return_freed_memory()
        return self._found

    def _current(self, content: ContentFeatures, mask: Tensor | None) -> bool:
        if self._of is None or content.tables or self._of[0] is not content.whitened:
            return False
        kept = self._of[1]
        return mask is kept if mask is None or kept is None else torch.equal(mask, kept)


def neighbor_vectors(index: Tensor, weight: Tensor, table: Tensor, known: Tensor, length: float = 1.0) -> Tensor:
    """Returns for each new item the mean scoring vector [C, d] of the known items whose content is nearest.

    Neighbors weigh by the positive part of the cosine of their features. Since averaging shortens, the mean is scaled
    to a multiple of the known items' mean length, which decides how new items stand beside known ones, but not how
    they stand to each other; an item without any similar one gets zeros.

    Args:
        index: neighbors of each new item [C, K].
        weight: their cosines [C, K].
        table: scoring vectors of all items [I, d].
        known: bool [I], the items to learn from.
        length: of the new items' vectors, in mean lengths of the known items'.
    """
    mean = (table[index] * weight.clamp_min(0).unsqueeze(2)).sum(dim=1)
    return F.normalize(mean, dim=1) * (length * table[known].norm(dim=1).mean())


def rows_by_user(user: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Returns where each user's rows begin [U] once the rows are ordered by user, and that order [n]."""
    counts = torch.bincount(user, minlength=n_users)
    return counts.cumsum(0) - counts, torch.argsort(user, stable=True)


def user_profiles(features: Tensor, items: Tensor, starts: Tensor) -> Tensor:
    """Returns the mean content of each user's items [U, D], scaled to unit length; zeros for a user without any.

    Args:
        features: item features [I, D].
        items: the interactions' items in order of user [n].
        starts: where each user's items begin [U].
    """
    return F.normalize(F.embedding_bag(items, features, starts, mode="mean"), dim=1)

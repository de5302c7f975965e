"""What a batch of rows reads from the frozen tables, gathered once, and the scores and sums made of it.

A batch names most users and many items several times. What does not depend on the environment is computed once for each
different user or item and then dealt out to the rows. E environments, B rows of each, N candidates shared by all rows,
U' different users and I' different items of the rows, k and D the sides of the projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .frozen import FrozenRecommender
from .losses import EnvironmentBatch, Scores


@dataclass(frozen=True)
class Members:
    """The different numbers of a table [E, B], and where each of its entries stands among them.

    Attributes:
        numbers: [n] in rising order.
        place: [E, B] index into them.
    """

    numbers: Tensor
    place: Tensor

    @classmethod
    def of(cls, table: Tensor, below: int) -> Members:
        """Returns the members of a table of numbers under ``below``; marking them is quicker than sorting."""
        present = torch.zeros(below, dtype=torch.bool, device=table.device)
        present[table.flatten()] = True
        return cls(present.nonzero().flatten(), (present.cumsum(0) - 1)[table])

    def summed(self, table: Tensor) -> Tensor:
        """Returns the sums [n, ...] over the entries [E, B, ...] of each number."""
        sums = table.new_zeros(len(self.numbers), *table.shape[2:])
        return sums.index_add_(0, self.place.flatten(), table.flatten(end_dim=1))


@dataclass(frozen=True)
class Rows:
    """Rows of the tables for one batch.

    Attributes:
        users: U', the rows' users.
        items: I', the rows' items.
        user_vectors: [U', d + k] both parts of each user, the identity first.
        item_features: [I', D] features of each item.
        contents: [E, B, k] content part of each row's user.
        own_identities: [E, B] identity part of the score of each row's item.
        own_features: [E, B, D] features of each row's item.
        identities: [N, d] identity part of the candidates.
        features: [N, D] features of the candidates.
    """

    users: Members
    items: Members
    user_vectors: Tensor
    item_features: Tensor
    contents: Tensor
    own_identities: Tensor
    own_features: Tensor
    identities: Tensor
    features: Tensor

    @classmethod
    def of(cls, frozen: FrozenRecommender, batch: EnvironmentBatch) -> Rows:
        """Returns the rows that a batch reads from tables without scale and bias."""
        users, items = Members.of(batch.users, len(frozen.user_id)), Members.of(batch.items, len(frozen.features))
        return cls(
            users,
            items,
            torch.cat([taken(table, users.numbers) for table in (frozen.user_id, frozen.user_feature)], dim=1),
            taken(frozen.features, items.numbers),
            taken(frozen.user_feature, batch.users),
            (taken(frozen.user_id, batch.users) * taken(frozen.item_id, batch.items)).sum(dim=-1),
            taken(frozen.features, batch.items),
            taken(frozen.item_id, batch.candidates),
            taken(frozen.features, batch.candidates),
        )

    def scores(self, projection: Tensor) -> Scores:
        """Returns the scores of each row's item [E, B] and of the candidates [E, B, N].

        Args:
            projection: [k, D] for all environments or [E, k, D].
        """
        projected = self.features @ projection.mT
        if projection.dim() == 3:
            positive = self.own_identities + self._along(self.contents, projection)
            others = torch.cat([self.identities.expand(len(projected), -1, -1), projected], dim=-1)
            return positive, taken(self.user_vectors, self.users.place) @ others.mT
        own = taken(self.item_features @ projection.T, self.items.place)
        negative = self.user_vectors @ torch.cat([self.identities, projected], dim=1).T
        return self.own_identities + (self.contents * own).sum(dim=-1), taken(negative, self.users.place)

    def change(self, direction: Tensor, weights: Tensor) -> Scores:
        """Returns how the scores change along a direction of the projections [E, k, D], times weights [E, B]."""
        contents = self.contents * weights[..., None]
        return self._along(contents, direction), contents @ (direction @ self.features.T)

    def _along(self, contents: Tensor, projection: Tensor) -> Tensor:
        """Products [E, B] of the rows' contents with their items' projected features."""
        return ((contents @ projection) * self.own_features).sum(dim=-1)

    def pulled_back(self, coefficients: Scores, weights: Tensor) -> Tensor:
        """Returns the sums [E, k, D] of ``weight * coefficient * user x feature`` over rows and their items.

        Args:
            coefficients: Of each row's item [E, B] and of each candidate [E, B, N].
            weights: [E, B] factor of a row; it goes to the users, the smaller table.
        """
        users = self.contents * weights[..., None]
        own = (users * coefficients[0][..., None]).mT @ self.own_features
        return own + (users.mT @ coefficients[1]) @ self.features

    def pulled_back_together(self, coefficients: Scores) -> Tensor:
        """Returns the sum [k, D] over environments of ``coefficient * user x feature``, which costs half as much."""
        own = self.items.summed(self.contents * coefficients[0][..., None])
        contents = self.user_vectors[:, self.identities.shape[1] :]
        return own.T @ self.item_features + (contents.T @ self.users.summed(coefficients[1])) @ self.features


def taken(table: Tensor, index: Tensor) -> Tensor:
    """Returns the rows ``table[index]``, which ``index_select`` copies several times faster than indexing."""
    return table.index_select(0, index.flatten()).view(*index.shape, *table.shape[1:])

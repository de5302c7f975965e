"""The part of a trained recommender that stays fixed while environments and masks are looked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .sampling import draw_candidates

ROWS = 1024  # of a table that are looked at together


@dataclass(frozen=True)
class FrozenRecommender:
    """Frozen tables of a two-part recommender whose content projection is still free.

    The score of user u and item i under a projection W [k, D] and a mask m [D] is::

        s_ui = item_scale_i * (<user_id_u, item_id_i> + <user_feature_u, W (m * x_i) + bias>)

    A temperature or a user norm belongs inside the user tables. Row 0 of users and of items is padding: it is never
    drawn as a candidate. U users, I items, d width of the identity part, k of the content part, D of the features.

    Attributes:
        user_id: [U, d] identity part of the users.
        user_feature: [U, k] content part of the users.
        item_id: [I, d] identity part of the items.
        features: [I, D] item features, modalities side by side.
        item_scale: [I] factor of an item's whole score; None is 1.
        bias: [k] added to the projected features; None is 0.
        rivals: [C] items that compete with a chosen one, ascending, each once; None is all of them.
    """

    user_id: Tensor
    user_feature: Tensor
    item_id: Tensor
    features: Tensor
    item_scale: Tensor | None = None
    bias: Tensor | None = None
    rivals: Tensor | None = None

    def __post_init__(self) -> None:
        """Checks that the tables fit each other.

        Raises:
            ValueError: Two tables disagree in a size.
        """
        _same("users of user_id and user_feature", self.user_id.shape[0], self.user_feature.shape[0])
        _same("items of item_id and features", self.item_id.shape[0], self.features.shape[0])
        _same("width of user_id and item_id", self.user_id.shape[1], self.item_id.shape[1])
        if self.item_scale is not None:
            _same("items of item_scale and features", self.item_scale.shape[0], self.features.shape[0])

    @property
    def n_items(self) -> int:
        """Items, the padding row left out."""
        return self.features.shape[0] - 1

    @property
    def n_rivals(self) -> int:
        """Items that compete with a chosen one."""
        return self.n_items if self.rivals is None else len(self.rivals)

    def draw_rivals(self, number: int | None, generator: torch.Generator) -> Tensor:
        """Returns different competing items [N]; all of them in order if ``number`` is None, 0 or not smaller."""
        places = draw_candidates(self.n_rivals, number, generator, self.features.device)
        return places if self.rivals is None else self.rivals[places - 1]

    def folded(self) -> FrozenRecommender:
        """Returns the same scores without a scale and without a bias.

        The scale goes into the item tables. The bias adds ``<user_feature, bias>`` to a score, which is one more
        column on each side of the identity part.
        """
        folded = self if self.bias is None else self._with_bias_column(self.bias)
        if folded.item_scale is None:
            return folded
        scale = folded.item_scale[:, None]
        return replace(folded, item_id=scale * folded.item_id, features=scale * folded.features, item_scale=None)

    def _with_bias_column(self, bias: Tensor) -> FrozenRecommender:
        """Returns the same scores with the bias kept as one more identity column."""
        column = (self.user_feature @ bias)[:, None]
        ones = self.item_id.new_ones(self.item_id.shape[0], 1)
        user_id = torch.cat([self.user_id, column], dim=1)
        return replace(self, user_id=user_id, item_id=torch.cat([self.item_id, ones], dim=1), bias=None)


def score_unit(frozen: FrozenRecommender) -> float:
    """Returns the size of a projection's entries at which its random scores have variance 1.

    Measured in this unit, learning rate and weight decay mean the same whatever the widths and scales of the tables.
    """
    users, features = frozen.user_feature[1:], frozen.features[1:]
    variance = _mean_square(users) * _mean_square(features) * users.shape[1] * features.shape[1]
    return variance**-0.5 if variance > 0 else 1.0


def _mean_square(table: Tensor) -> float:
    """Returns the mean square of all entries, without a second table of that size."""
    total = torch.stack([part.square().sum(dtype=torch.float64) for part in table.split(ROWS)]).sum()
    return float(total) / table.numel()


def _same(what: str, left: int, right: int) -> None:
    """Raises ValueError unless the two sizes agree."""
    if left != right:
        raise ValueError(f"{what} must agree, but got {left} and {right}.")

"""Data sets as large as those of the papers: how large, and how choices and features come about.

Letters: U users, I items, E training environments, n interactions, D columns of a modality, L latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.simulate.recipes import R1

LEAST = 5  # choices of a user in training, validation and test: three, one and one


@dataclass(frozen=True)
class Scale:
    """Sizes and strengths of a large data set.

    Each choice of user u in environment e is the best of ``proposals`` items, which are drawn with a probability that
    falls with the item's rank by a power law, by ``invariant * f + spurious * gamma_e * c + Gumbel noise``. The tastes
    ``f`` and ``c`` are products of the user's and the item's latent factors of unit standard deviation. A column of an
    invariant (spurious) kind shows the item's factors of that taste in a random direction, plus as much noise.

    Attributes:
        users: U.
        items: I.
        interactions: n of training, validation and test together; ``test_ood`` comes on top, as many as ``test``.
        widths: D of each modality.
        words: Different words of the items' titles; 0 for no titles.
        invariant: Strength of the invariant taste.
        spurious: Strength of the spurious taste.
        gamma: Factor of the spurious taste in each training environment.
        gamma_ood: The same in ``test_ood``.
        latent: L.
        proposals: Items that a choice is made from.
        decay: Exponent of the items' popularity by rank.
        tail: Exponent of the density of users' numbers of choices.
        half: Whether features are written in half precision.
    """

    users: int
    items: int
    interactions: int
    widths: dict[str, int] = field(default_factory=lambda: {"visual": 128, "acoustic": 128})
    words: int = 0
    invariant: float = R1.invariant
    spurious: float = R1.spurious
    gamma: tuple[float, ...] = R1.gamma
    gamma_ood: float = R1.gamma_ood
    latent: int = R1.latent
    proposals: int = 16
    decay: float = 0.8
    tail: float = 2.5
    half: bool = False

    @property
    def most(self) -> int:
        """The most choices of one user in training, validation and test."""
        return self.items // 4


SCALES: dict[str, Scale] = {
    "movielens": Scale(55_485, 5_986, 1_239_508, {"visual": 2048, "acoustic": 128, "textual": 100}),
    "tiktok": Scale(36_656, 76_085, 726_065, {"visual": 128, "acoustic": 128}, words=11_574),
    "kwai": Scale(7_010, 86_483, 298_492, {"visual": 2048}),
    "10m": Scale(500_000, 200_000, 10_000_000),
}
# constants of a recipe that a scale has as well
SHARED = ("users", "items", "invariant", "spurious", "gamma", "gamma_ood", "latent")


def scale_with(name: str, constants: Mapping[str, Any]) -> Scale:
    """Returns the scale of this name with some attributes replaced; fewer users or items have fewer interactions.

    Raises:
        UserError: There is no such scale or constant, or a value is out of range.
    """
    if name not in SCALES:
        raise UserError(f"--scale={name}: expected one of {', '.join(SCALES)}.{nearest(name, SCALES)}")
    known = (*SHARED, "interactions", "half")
    for key in constants:
        if key not in known:
            raise UserError(f"--{key}: --scale takes {', '.join(f'--{one}' for one in known)} alone")
    scale = SCALES[name]
    chosen = replace(scale, **constants)
    if "interactions" not in constants:
        chosen = replace(chosen, interactions=round(scale.interactions * chosen.users / scale.users))
    return checked(chosen)


def checked(scale: Scale) -> Scale:
    """Returns ``scale`` if a data set can be made by it.

    Raises:
        UserError: A value is out of range, or users choose more or fewer items than they can.
    """
    for key in ("users", "items", "latent"):
        if getattr(scale, key) < 1:
            raise UserError(f"--{key}={getattr(scale, key)}: expected 1 or more")
    for key in ("invariant", "spurious"):
        value = getattr(scale, key)
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"--{key}={value}: expected a finite number, 0 or more")
    if not (scale.gamma and all(map(math.isfinite, (*scale.gamma, scale.gamma_ood)))):
        raise UserError("--gamma and --gamma_ood: expected finite numbers such as 3,1.5,0 and -1.5")
    if scale.most < LEAST:
        raise UserError(f"--items={scale.items}: expected at least {4 * LEAST}, so that users choose a quarter at most")
    low, high = LEAST * scale.users, scale.most * scale.users
    if not low <= scale.interactions <= high:
        what = f"{scale.users} users make {LEAST} to {scale.most} choices each, {low} to {high} in all"
        raise UserError(f"--interactions={scale.interactions}: {what}")
    return scale

"""The recipes: sizes and strengths of simulated data sets, every one of them a constant that can be overridden."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from recbole_painvrl.convert.modalities import MODALITY
from recbole_painvrl.errors import UserError


def _constant(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class Recipe:
    """Sizes and strengths of a simulated data set; each attribute is an option of the command.

    A user picks items by ``invariant * f + spurious * gamma_e * c + popularity + Gumbel noise``, where ``f`` is read
    from the invariant columns and ``c`` from the spurious ones, each of unit standard deviation over all pairs.
    """

    users: int = _constant(600, "users")
    items: int = _constant(500, "items")
    invariant: float = _constant(1.2, "strength a of the invariant taste")
    spurious: float = _constant(1.0, "strength b of the spurious taste")
    gamma: tuple[float, ...] = _constant((3.0, 1.5, 0.0), "factor of the spurious taste in each training environment")
    gamma_ood: float = _constant(-1.5, "the same in the environment of the set test_ood")
    train: int = _constant(8, "training choices of a user in each of his environments")
    valid: int = _constant(1, "validation choices there")
    test: int = _constant(2, "choices of the set test there")
    ood: int = _constant(6, "choices of a user in each set out of distribution")
    popularity: float = _constant(0.3, "standard deviation of the items' popularity")
    invariant_columns: int = _constant(6, "invariant columns of a modality")
    spurious_columns: int = _constant(6, "spurious columns of a modality")
    noise_columns: int = _constant(4, "columns of a modality without any effect")
    latent: int = _constant(4, "dimensions of a taste")
    modalities: tuple[str, ...] = _constant(("visual", "acoustic", "textual"), "names of the modalities")
    shared: float = _constant(0.0, "share, 0 to 1, of the spurious taste's variance that all users have in common")
    one_environment: bool = _constant(False, "true: every user lives in one training environment only")
    shifts: int = _constant(0, "sets test_shift_0 ... with gamma sliding from the training mean to gamma_ood")
    rotated: bool = _constant(False, "true: a random rotation of each modality's columns hides the axes")

    def picks(self) -> tuple[int, int, int]:
        """Choices of a user in one environment for training, validation and test."""
        return self.train, self.valid, self.test

    def shift_gammas(self) -> tuple[float, ...]:
        """Factors of the sliding test sets: the training environments' mean first, ``gamma_ood`` last."""
        mean = sum(self.gamma) / len(self.gamma)
        steps = max(self.shifts - 1, 1)
        return tuple(mean + (self.gamma_ood - mean) * step / steps for step in range(self.shifts))


R1 = Recipe()
RECIPES: dict[str, Recipe] = {
    "rb": Recipe(users=1000, items=800, invariant=2.0, gamma=(2.0, 1.0, -0.5)),
    "r1": R1,
    "r2": replace(R1, invariant=1.5, gamma=(3.0, 1.5, -0.5)),
    "shift": replace(R1, shifts=7),
    "entangled": replace(R1, rotated=True),
    "users": replace(R1, one_environment=True, shared=0.5, train=24, valid=3, test=6),
}
PURPOSES = {
    "rb": "invariant columns are simply stronger: parity in distribution and a gain out of it",
    "r1": "spurious columns as predictive as invariant ones on pooled data: mask recovery",
    "r2": "like rb, smaller",
    "shift": "r1 and a sequence of test sets between in-distribution and reversed",
    "entangled": "r1 behind a random rotation of each modality",
    "users": "like r1, each user in one environment, half of the spurious taste common to all users",
}


def checked(recipe: Recipe) -> Recipe:
    """Returns ``recipe`` if a data set can be made by it.

    Raises:
        UserError: A constant is out of range, or there are fewer items than one user chooses.
    """
    for constant in fields(recipe):
        value = getattr(recipe, constant.name)
        expected, holds = _RULES.get(constant.name, ("a finite number", _finite))
        if not holds(value):
            raise UserError(f"--{constant.name}={_text(value)}: expected {expected}")
    columns = recipe.invariant_columns + recipe.spurious_columns + recipe.noise_columns
    if not columns:
        raise UserError("--noise_columns=0: a modality needs at least one column of some kind")
    _check_room(recipe)
    return recipe


def _check_room(recipe: Recipe) -> None:
    """Refuses a recipe whose users choose more items than there are, no item twice."""
    stays = 1 if recipe.one_environment else len(recipe.gamma)
    needed = sum(recipe.picks()) * stays + recipe.ood
    if recipe.items <= needed:
        raise UserError(f"--items={recipe.items}: a user chooses {needed} different ones, so expected more than that")
    if recipe.one_environment and recipe.users < len(recipe.gamma):
        raise UserError(f"--users={recipe.users}: expected at least one for each of {len(recipe.gamma)} environments")


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _at_least(least: int) -> tuple[str, Callable[[Any], bool]]:
    return f"{least} or more", lambda value: value >= least


def _names(value: tuple[str, ...]) -> bool:
    return len(value) > 0 and len(set(value)) == len(value) and all(map(MODALITY.fullmatch, value))


_TRUTH = ("true or false", lambda value: isinstance(value, bool))
_STRENGTH = ("a finite number, 0 or more", lambda value: math.isfinite(value) and value >= 0)
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("users", "items", "train", "valid", "test", "ood", "latent"), _at_least(1)),
    **dict.fromkeys(("invariant_columns", "spurious_columns", "noise_columns"), _at_least(0)),
    **dict.fromkeys(("invariant", "spurious", "popularity"), _STRENGTH),
    "gamma": ("finite numbers such as 3,1.5,0", lambda value: len(value) > 0 and all(map(math.isfinite, value))),
    "modalities": ("different names such as visual,acoustic, of letters, digits, _ and -", _names),
    "shared": ("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "shifts": ("0, or 2 and more", lambda value: value == 0 or value >= 2),
    "one_environment": _TRUTH,
    "rotated": _TRUTH,
}

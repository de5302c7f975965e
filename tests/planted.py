"""Planted interactions whose invariant and spurious columns are known: the package's simulation as plain arrays.

A column is invariant or spurious by construction, so a mask can be judged against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_painvrl.simulate import RECIPES as SIMULATED
from recbole_painvrl.simulate import Recipe, generate, recipe_with

RECIPES = {name.upper(): SIMULATED[name] for name in ("rb", "r2", "r1")}


@dataclass(frozen=True)
class Planted:
    """One planted data set; n interactions, I items, ids counted from 0.

    Attributes:
        users: [n] user of each interaction.
        items: [n] item of each interaction.
        environments: [n] environment; the OOD test has the number after the last training environment.
        splits: [n] one of ``train``, ``valid``, ``test``, ``test_ood``.
        features: For each modality [I, 16], standard normal columns.
        truth: For each modality [16]: 1 invariant, 0 spurious, -1 noise.
        n_users: Users.
        n_items: Items.
    """

    users: np.ndarray
    items: np.ndarray
    environments: np.ndarray
    splits: np.ndarray
    features: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    n_users: int
    n_items: int

    @property
    def all_features(self) -> np.ndarray:
        """The modalities side by side, [I, D]."""
        return np.concatenate(list(self.features.values()), axis=1)

    @property
    def all_truth(self) -> np.ndarray:
        """The truth of the modalities side by side, [D]."""
        return np.concatenate(list(self.truth.values()))


def plant(recipe: str | Recipe, seed: int, **sizes: int) -> Planted:
    """Returns the planted data set of ``recipe`` (a name or a Recipe); ``sizes`` override it, ``n_users`` is users."""
    given = recipe if isinstance(recipe, Recipe) else SIMULATED[recipe.lower()]
    constants = vars(given) | {name.removeprefix("n_"): size for name, size in sizes.items()}
    data = generate(recipe_with("r1", constants), seed)
    splits, shape = np.array(data.set_names)[data.sets], (data.recipe.users, data.recipe.items)
    return Planted(data.users, data.items, data.environments, splits, data.features, data.truth, *shape)


def area_under_curve(mask: np.ndarray, truth: np.ndarray) -> float:
    """Probability that an invariant column has a larger mask than a spurious one, ties counted half; noise left out."""
    difference = mask[truth == 1][:, None] - mask[truth == 0][None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())

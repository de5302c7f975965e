"""Planted interactions whose invariant and spurious feature columns are known, made with numpy alone.

A user picks items by ``a * f + b * gamma_e * c + popularity + Gumbel noise``: ``f`` is read from the invariant columns
and counts the same in every environment, ``c`` is read from the spurious columns and counts ``gamma_e``. A column is
therefore invariant or spurious by construction, and a mask can be judged against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

MODALITIES = ("visual", "acoustic", "textual")
N_INVARIANT, N_SPURIOUS, N_NOISE = 6, 6, 4  # columns of each kind in each modality
LATENT = 4
N_VALID, N_TEST, N_OOD = 1, 2, 6


@dataclass(frozen=True)
class Recipe:
    """Sizes and strengths of one planted data set.

    Attributes:
        n_users: Users.
        n_items: Items.
        invariant: Strength ``a`` of the invariant taste.
        spurious: Strength ``b`` of the spurious taste.
        gammas: Factor of the spurious taste in each training environment.
        gamma_ood: The same in the environment of the OOD test.
        n_train: Training choices of a user in each environment.
    """

    n_users: int
    n_items: int
    invariant: float
    spurious: float
    gammas: tuple[float, ...]
    gamma_ood: float = -1.5
    n_train: int = 8


RECIPES = {
    "RB": Recipe(1000, 800, 2.0, 1.0, (2.0, 1.0, -0.5)),
    "R2": Recipe(600, 500, 1.5, 1.0, (3.0, 1.5, -0.5)),
    "R1": Recipe(600, 500, 1.2, 1.0, (3.0, 1.5, 0.0)),
}


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
    """Returns the planted data set of ``recipe`` (a name in RECIPES or a Recipe); ``sizes`` override its fields."""
    chosen = replace(RECIPES[recipe] if isinstance(recipe, str) else recipe, **sizes)
    draw = np.random.default_rng(seed)
    invariant = draw.standard_normal((chosen.n_items, len(MODALITIES) * N_INVARIANT))
    spurious = draw.standard_normal((chosen.n_items, len(MODALITIES) * N_SPURIOUS))
    noise = draw.standard_normal((chosen.n_items, len(MODALITIES) * N_NOISE))
    stable, shifting = _taste(draw, chosen.n_users, invariant), _taste(draw, chosen.n_users, spurious)
    users, items, environments, splits = _choices(draw, chosen, stable, shifting)
    features, truth = _shuffled_columns(draw, invariant, spurious, noise)
    return Planted(users, items, environments, splits, features, truth, chosen.n_users, chosen.n_items)


def _taste(draw: np.random.Generator, n_users: int, columns: np.ndarray) -> np.ndarray:
    """How much each user likes each item for these columns, [U, I], of unit standard deviation."""
    loadings = draw.standard_normal((columns.shape[1], LATENT))
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    liking = draw.standard_normal((n_users, LATENT)) @ (columns @ loadings).T
    return liking / liking.std()


def _choices(
    draw: np.random.Generator, recipe: Recipe, stable: np.ndarray, shifting: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lets every user choose in every environment, no item twice; returns users, items, environments and splits."""
    popularity = 0.3 * draw.standard_normal(recipe.n_items)
    taken = np.zeros(stable.shape, dtype=bool)
    in_environment = ["train"] * recipe.n_train + ["valid"] * N_VALID + ["test"] * N_TEST
    columns: list[tuple[np.ndarray, ...]] = []
    for environment, gamma in enumerate((*recipe.gammas, recipe.gamma_ood)):
        names = in_environment if environment < len(recipe.gammas) else ["test_ood"] * N_OOD
        utility = recipe.invariant * stable + recipe.spurious * gamma * shifting + popularity
        utility = np.where(taken, -np.inf, utility + draw.gumbel(size=stable.shape))
        picked = draw.permuted(np.argsort(-utility, axis=1)[:, : len(names)], axis=1)
        np.put_along_axis(taken, picked, True, axis=1)
        users = np.repeat(np.arange(recipe.n_users), len(names))
        splits = np.tile(np.array(names, dtype="U8"), recipe.n_users)
        columns.append((users, picked.ravel(), np.full(users.size, environment), splits))
    users, items, environments, splits = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return users, items, environments, splits


def _shuffled_columns(
    draw: np.random.Generator, *kinds: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Deals the columns of each kind out to the modalities and permutes them inside each modality."""
    features, truth = {}, {}
    for position, name in enumerate(MODALITIES):
        blocks = [np.split(kind, len(MODALITIES), axis=1)[position] for kind in kinds]
        kind_of_column = np.repeat([1, 0, -1], [block.shape[1] for block in blocks])
        order = draw.permutation(kind_of_column.size)
        features[name] = np.concatenate(blocks, axis=1)[:, order].astype(np.float32)
        truth[name] = kind_of_column[order]
    return features, truth


def area_under_curve(mask: np.ndarray, truth: np.ndarray) -> float:
    """Probability that an invariant column has a larger mask than a spurious one, ties counted half; noise left out."""
    difference = mask[truth == 1][:, None] - mask[truth == 0][None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())

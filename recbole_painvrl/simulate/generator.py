"""Draws simulated interactions and features; the utilities of a block of users are in memory at a time.

Letters: U users, I items, E environments, n interactions, K columns of one kind, L latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_painvrl.randomness import derive_seed
from recbole_painvrl.simulate.entangle import random_rotation
from recbole_painvrl.simulate.recipes import Recipe
from recbole_painvrl.simulate.times import timestamps

UTILITIES_A_BLOCK = 4_000_000
INVARIANT, SPURIOUS, NOISE = 1, 0, -1
IN_DISTRIBUTION = ("train", "valid", "test")
OOD, SHIFT = "test_ood", "test_shift_"


@dataclass(frozen=True)
class Simulated:
    """One simulated data set; ids are counted from 0.

    Attributes:
        recipe: What it was made by.
        seed: What it was drawn with.
        set_names: Names of the sets, training first.
        users: [n] user of each interaction.
        items: [n] item of each interaction.
        environments: [n] environment; each set out of distribution has a number of its own after the training ones.
        sets: [n] position of the interaction's set in ``set_names``.
        timestamps: [n] seconds from the first day's midnight.
        gammas: Factor of the spurious taste in each environment.
        features: For each modality [I, D], as the recommender sees them.
        truth: For each modality [D]: 1 invariant, 0 spurious, -1 noise; of the columns before any rotation.
        rotations: For each modality the orthogonal matrix [D, D] that the columns were multiplied with from the right;
            empty without rotation.
    """

    recipe: Recipe
    seed: int
    set_names: tuple[str, ...]
    users: np.ndarray
    items: np.ndarray
    environments: np.ndarray
    sets: np.ndarray
    timestamps: np.ndarray
    gammas: tuple[float, ...]
    features: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    rotations: dict[str, np.ndarray]


@dataclass(frozen=True)
class Tastes:
    """How utilities come about: users' factors [U, L] and items' factors [I, L] of each kind, and popularity [I]."""

    stable: tuple[np.ndarray, np.ndarray]
    shifting: tuple[np.ndarray, np.ndarray]
    popularity: np.ndarray

    def utility(self, members: np.ndarray, recipe: Recipe, gamma: float) -> np.ndarray:
        """Utility of every item for the users ``members`` where the spurious taste counts ``gamma``, [members, I]."""
        stable = (self.stable[0][members] * recipe.invariant) @ self.stable[1].T
        shifting = (self.shifting[0][members] * (recipe.spurious * gamma)) @ self.shifting[1].T
        return stable + shifting + self.popularity


def generate(recipe: Recipe, seed: int) -> Simulated:
    """Draws the data set of ``recipe``.

    Rotation, sliding test sets, times and shared tastes have generators of their own, so that recipes which differ in
    those alone share everything else at the same seed.
    """
    draw = np.random.default_rng(seed)
    kinds, tastes = draw_tastes(draw, recipe, seed)
    users, items, environments, sets = _interactions(draw, recipe, seed, tastes)
    features, truth = _shuffled_columns(draw, recipe.modalities, kinds)
    rotations = _rotations(recipe, seed, features)
    features = {name: (x @ rotations[name] if rotations else x).astype(np.float32) for name, x in features.items()}
    names = (*IN_DISTRIBUTION, OOD, *(f"{SHIFT}{step}" for step in range(recipe.shifts)))
    gammas = (*recipe.gamma, recipe.gamma_ood, *recipe.shift_gammas())
    times = timestamps(_stream(seed, "times"), users, environments, recipe.users, len(recipe.gamma), len(gammas))
    return Simulated(recipe, seed, names, users, items, environments, sets, times, gammas, features, truth, rotations)


def draw_tastes(draw: np.random.Generator, recipe: Recipe, seed: int) -> tuple[list[np.ndarray], Tastes]:
    """Draws the items' columns of each kind, all [I, K], and what users and items are to each other.

    Called with a fresh ``numpy.random.default_rng(seed)`` it returns what the data set of that seed was made from.
    """
    counts = recipe.invariant_columns, recipe.spurious_columns, recipe.noise_columns
    kinds = [draw.standard_normal((recipe.items, len(recipe.modalities) * count)) for count in counts]
    stable = _taste(draw, recipe, kinds[0])
    shifting = _taste(draw, recipe, kinds[1], _common_taste(recipe, seed))
    return kinds, Tastes(stable, shifting, recipe.popularity * draw.standard_normal(recipe.items))


def _stream(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, f"simulate {purpose}"))


def _common_taste(recipe: Recipe, seed: int) -> np.ndarray | None:
    """The part of the spurious taste that all users have, [L], as long as a user's own is on average; None if none."""
    if recipe.shared == 0:
        return None
    common = _stream(seed, "shared taste").standard_normal(recipe.latent)
    return common * np.sqrt(recipe.latent / (common**2).sum())


def _taste(
    draw: np.random.Generator, recipe: Recipe, columns: np.ndarray, common: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Factors whose product says how much each user likes each item for ``columns`` [I, K]: [U, L] and [I, L].

    The product has unit standard deviation over all pairs, found without making it.
    """
    loadings = draw.standard_normal((columns.shape[1], recipe.latent))
    loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
    users, items = draw.standard_normal((recipe.users, recipe.latent)), columns @ loadings
    if common is not None:
        users = np.sqrt(1 - recipe.shared) * users + np.sqrt(recipe.shared) * common
    mean = users.mean(axis=0) @ items.mean(axis=0)
    square = ((users.T @ users) * (items.T @ items)).sum() / (len(users) * len(items))
    deviation = np.sqrt(square - mean**2)
    return users / (deviation if deviation > 0 else 1.0), items


def _interactions(draw: np.random.Generator, recipe: Recipe, seed: int, tastes: Tastes) -> tuple[np.ndarray, ...]:
    """Lets the users choose in every environment; returns users, items, environments and positions of the sets.

    No user chooses an item twice in training, validation, test and any one set out of distribution. The sliding sets
    may share pairs with each other and with ``test_ood``: all of them see the same items left over, which makes them
    comparable.
    """
    chosen, columns = _training(draw, recipe, seed, tastes)
    everyone, shifts = np.arange(recipe.users), _stream(seed, "shifted sets")
    for step, gamma in enumerate((recipe.gamma_ood, *recipe.shift_gammas())):
        picked = _choose(shifts if step else draw, recipe, tastes, everyone, gamma, chosen, recipe.ood)
        sets = np.full(recipe.ood, len(IN_DISTRIBUTION) + step)
        columns.append(_rows(everyone, picked, len(recipe.gamma) + step, sets))
    users, items, environments, sets = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return users, items, environments, sets


def _training(
    draw: np.random.Generator, recipe: Recipe, seed: int, tastes: Tastes
) -> tuple[np.ndarray, list[tuple[np.ndarray, ...]]]:
    """Choices in the training environments: all items of each user [U, stays * picks], and rows an environment."""
    sets = np.repeat(np.arange(len(IN_DISTRIBUTION)), recipe.picks())
    homes = _homes(recipe, seed) if recipe.one_environment else None
    chosen = np.empty((recipe.users, (len(recipe.gamma) if homes is None else 1) * len(sets)), dtype=np.int64)
    columns, done = [], 0
    for environment, gamma in enumerate(recipe.gamma):
        members = np.arange(recipe.users) if homes is None else np.flatnonzero(homes == environment)
        picked = _choose(draw, recipe, tastes, members, gamma, chosen[members, :done], len(sets))
        chosen[members, done : done + len(sets)] = picked
        done += len(sets) if homes is None else 0
        columns.append(_rows(members, picked, environment, sets))
    return chosen, columns


def _homes(recipe: Recipe, seed: int) -> np.ndarray:
    """The environment each user lives in, [U], as many users in each as in any other."""
    return _stream(seed, "homes").permutation(np.arange(recipe.users) % len(recipe.gamma))


def _rows(members: np.ndarray, picked: np.ndarray, environment: int, sets: np.ndarray) -> tuple[np.ndarray, ...]:
    users = np.repeat(members, len(sets))
    return users, picked.ravel(), np.full(users.size, environment), np.tile(sets, len(members))


def _choose(
    draw: np.random.Generator,
    recipe: Recipe,
    tastes: Tastes,
    members: np.ndarray,
    gamma: float,
    taken: np.ndarray,
    n_picks: int,
) -> np.ndarray:
    """The ``n_picks`` items of largest noisy utility for each of ``members``, those ``taken`` left out, shuffled."""
    block = max(1, UTILITIES_A_BLOCK // recipe.items)
    blocks = [slice(start, start + block) for start in range(0, len(members), block)]
    parts = [_best(draw, tastes.utility(members[part], recipe, gamma), taken[part], n_picks) for part in blocks]
    return draw.permuted(np.concatenate(parts), axis=1)


def _best(draw: np.random.Generator, utility: np.ndarray, taken: np.ndarray, n_picks: int) -> np.ndarray:
    """The positions of the largest noisy utilities in each row, largest first, [rows, n_picks]."""
    utility += draw.gumbel(size=utility.shape)
    np.put_along_axis(utility, taken, -np.inf, axis=1)
    best = np.argpartition(-utility, n_picks - 1, axis=1)[:, :n_picks]
    order = np.argsort(-np.take_along_axis(utility, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def _shuffled_columns(
    draw: np.random.Generator, modalities: tuple[str, ...], kinds: list[np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Deals the columns of each kind out to the modalities and permutes them inside each modality."""
    features, truth = {}, {}
    for position, name in enumerate(modalities):
        blocks = [np.split(kind, len(modalities), axis=1)[position] for kind in kinds]
        kind_of_column = np.repeat([INVARIANT, SPURIOUS, NOISE], [block.shape[1] for block in blocks])
        order = draw.permutation(kind_of_column.size)
        features[name] = np.concatenate(blocks, axis=1)[:, order]
        truth[name] = kind_of_column[order]
    return features, truth


def _rotations(recipe: Recipe, seed: int, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A random rotation for each modality, or none."""
    if not recipe.rotated:
        return {}
    return {name: random_rotation(_stream(seed, f"rotation {name}"), x.shape[1]) for name, x in features.items()}

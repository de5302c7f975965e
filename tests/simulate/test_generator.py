"""Properties of the simulated choices: who chose what, where, when, and by which taste."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recbole_painvrl.simulate import RECIPES, Simulated, generate, generator, recipe_with

SMALL = {"users": 120, "items": 150}


def small(recipe: str, seed: int = 0, **constants: Any) -> Simulated:
    """A small data set of this recipe."""
    return generate(recipe_with(recipe, SMALL | constants), seed)


def alike(data: Simulated, name: str, environment: int, kind: int) -> float:
    """How much more alike than at random the items of a user in one set and environment are in columns of a kind."""
    rows = (data.environments == environment) & (data.sets == data.set_names.index(name))
    features, truth = (np.concatenate(list(part.values()), axis=-1) for part in (data.features, data.truth))
    columns = features[data.items[rows]][:, truth == kind]
    users, codes = np.unique(data.users[rows], return_inverse=True)
    sums = np.zeros((len(users), columns.shape[1]))
    np.add.at(sums, codes, columns)
    each = rows.sum() / len(users)
    return float(((sums / each) ** 2).mean()) - 1 / each


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_every_user_has_the_promised_choices_and_repeats_none(recipe: str) -> None:
    data = small(recipe)
    for position, name in enumerate(data.set_names):
        each = {"train": 24, "valid": 3, "test": 6}.get(name, 6)
        assert (np.bincount(data.users[data.sets == position], minlength=120) == each).all()
        rows = (data.sets < 3) | (data.sets == position)
        assert np.unique(data.users[rows] * 150 + data.items[rows]).size == rows.sum()


def test_recipes_hold_the_published_constants() -> None:
    known = {"rb": (1000, 800, 2.0, (2.0, 1.0, -0.5)), "r2": (600, 500, 1.5, (3.0, 1.5, -0.5))}
    known["r1"] = (600, 500, 1.2, (3.0, 1.5, 0.0))
    for name, constants in known.items():
        recipe = RECIPES[name]
        assert (recipe.users, recipe.items, recipe.invariant, recipe.gamma) == constants
        assert (recipe.spurious, recipe.gamma_ood, recipe.popularity, recipe.latent) == (1.0, -1.5, 0.3, 4)


def test_draws_of_r1_stay_what_they_were() -> None:
    """Results measured on a seed are worth nothing once the seed means other data."""
    data = generate(RECIPES["r1"], 0)
    assert data.items[:8].tolist() == [239, 321, 39, 358, 381, 205, 48, 54]
    assert data.items[-4:].tolist() == [377, 328, 404, 118] and data.items.sum() == 5907257
    assert data.features["visual"][0, :2] == pytest.approx([0.73148578, -2.1116071])


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_columns_of_each_kind(recipe: str) -> None:
    data = small(recipe, noise_columns=2)
    for modality, truth in data.truth.items():
        assert data.features[modality].shape == (150, 14) and data.features[modality].dtype == np.float32
        assert [int((truth == kind).sum()) for kind in (1, 0, -1)] == [6, 6, 2]


def test_spurious_columns_lose_their_meaning_and_invariant_ones_do_not() -> None:
    data = small("r1", users=400, items=300)
    spurious = [alike(data, "train", environment, 0) for environment in range(3)]
    assert spurious[0] > 1.5 * spurious[1] > 1.5 * 1.5 * max(spurious[2], 0.01)
    assert alike(data, "train", 2, 1) > 3 * spurious[2]
    assert abs(alike(data, "train", 0, -1)) < 0.02


def test_sliding_sets_turn_a_taste_around() -> None:
    """The profile of spurious columns in training points along the choices where gamma is positive, else against."""
    data = small("shift", users=400, items=300)
    features, truth = (np.concatenate(list(part.values()), axis=-1) for part in (data.features, data.truth))

    def profile(rows: np.ndarray) -> np.ndarray:
        sums = np.zeros((400, int((truth == 0).sum())))
        np.add.at(sums, data.users[rows], features[data.items[rows]][:, truth == 0])
        return sums

    known = profile((data.sets == 0) & (data.environments == 0))
    agreement = [
        float((known * profile(data.sets == data.set_names.index(f"test_shift_{step}"))).sum()) for step in range(7)
    ]
    assert agreement == sorted(agreement, reverse=True)
    assert agreement[0] > 0 > agreement[-1]
    assert data.gammas[3:] == pytest.approx((-1.5, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5))


def test_shift_and_entangled_are_r1_but_for_what_their_names_say() -> None:
    plain, shift, hidden = small("r1"), small("shift"), small("entangled")
    n = len(plain.items)
    assert np.array_equal(shift.items[:n], plain.items) and np.array_equal(hidden.items, plain.items)
    for modality, rotation in hidden.rotations.items():
        assert np.array_equal(shift.features[modality], plain.features[modality])
        assert np.array_equal(hidden.truth[modality], plain.truth[modality])
        assert not np.allclose(hidden.features[modality], plain.features[modality], atol=0.1)
        assert rotation @ rotation.T == pytest.approx(np.eye(16), abs=1e-12)
        assert hidden.features[modality] @ rotation.T == pytest.approx(plain.features[modality], abs=1e-5)


def test_users_live_in_one_environment_each() -> None:
    data = small("users")
    rows = data.sets < 3
    pairs = np.unique(data.users[rows] * 4 + data.environments[rows])
    assert np.array_equal(pairs // 4, np.arange(120))
    assert (np.bincount(pairs % 4) == 40).all()


def test_only_a_shared_taste_sets_groups_of_users_apart() -> None:
    """Variance between environments of the mean column over what their users picked, a kind of column at a time."""

    def apart(kind: int, shared: float) -> float:
        data = small("users", users=600, items=300, shared=shared)
        features, truth = (np.concatenate(list(part.values()), axis=-1) for part in (data.features, data.truth))
        homes = [data.items[(data.sets == 0) & (data.environments == home)] for home in range(3)]
        return float(np.var([features[items][:, truth == kind].mean(axis=0) for items in homes], axis=0).mean())

    assert apart(0, 0.5) > 5 * apart(1, 0.5)
    assert apart(0, 0.5) > 5 * apart(0, 0.0)


@pytest.mark.parametrize("recipe", ["r1", "users", "shift"])
def test_a_stay_is_consecutive_in_time_and_environments_come_in_every_users_own_order(recipe: str) -> None:
    data = small(recipe)
    assert data.timestamps.min() >= 0 and data.timestamps.max() < 2**24  # exact in a 32-bit float
    assert np.unique(data.users * 2**24 + data.timestamps).size == len(data.users)
    order = np.lexsort((data.timestamps, data.users))
    stays = data.users[order] * len(data.gammas) + data.environments[order]
    assert 1 + (stays[1:] != stays[:-1]).sum() == np.unique(stays).size
    first = data.environments[order][np.unique(data.users[order], return_index=True)[1]]
    assert set(first) == {0, 1, 2}
    known = data.environments < 3
    last = np.zeros(120)
    np.maximum.at(last, data.users[known], data.timestamps[known])
    assert (data.timestamps[~known] > last[data.users[~known]]).all()


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small("shift")
    monkeypatch.setattr(generator, "UTILITIES_A_BLOCK", 1000)
    assert np.array_equal(small("shift").items, whole.items)


def test_other_seeds_give_other_data() -> None:
    one, other = small("entangled", 1), small("entangled", 2)
    assert not np.array_equal(one.items, other.items)
    assert not np.allclose(one.rotations["visual"], other.rotations["visual"])

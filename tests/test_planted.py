from __future__ import annotations

import numpy as np
import pytest

from tests.planted import RECIPES, Planted, area_under_curve, plant


@pytest.fixture(scope="module")
def planted() -> Planted:
    """A small R1."""
    return plant("R1", 0, n_users=150, n_items=200)


def test_every_user_has_the_promised_choices_and_repeats_none(planted: Planted) -> None:
    for split, each in (("train", 24), ("valid", 3), ("test", 6), ("test_ood", 6)):
        assert (np.bincount(planted.users[planted.splits == split], minlength=150) == each).all()
    assert np.unique(planted.users * planted.n_items + planted.items).size == planted.users.size
    assert set(planted.environments[planted.splits == "test_ood"]) == {3}


def test_columns_of_each_kind(planted: Planted) -> None:
    assert planted.all_features.shape == (200, 48)
    for truth in planted.truth.values():
        assert [int((truth == kind).sum()) for kind in (1, 0, -1)] == [6, 6, 4]


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_seed_gives_the_same_data_and_another_other_ones(recipe: str) -> None:
    one, two, other = (plant(recipe, seed, n_users=20, n_items=60) for seed in (1, 1, 2))
    assert np.array_equal(one.items, two.items) and np.array_equal(one.all_features, two.all_features)
    assert not np.array_equal(one.items, other.items)


def test_spurious_columns_lose_their_meaning_out_of_distribution(planted: Planted) -> None:
    """Items a user picks are alike in a column that matters; the spurious ones matter less where gamma is 0."""

    def alike(environment: int, kind: int) -> float:
        columns = planted.all_features[:, planted.all_truth == kind]
        rows = (planted.environments == environment) & (planted.splits == "train")
        picked = columns[planted.items[rows]].reshape(150, -1, columns.shape[1])
        return float((picked.mean(axis=1) ** 2).mean())

    assert alike(0, 0) > 2 * alike(2, 0)
    assert alike(2, 1) > 1.2 * alike(2, 0)


def test_area_under_the_curve_by_hand() -> None:
    truth = np.array([1, 1, 0, 0, -1])
    assert area_under_curve(np.array([0.9, 0.5, 0.5, 0.1, 1.0]), truth) == pytest.approx(3.5 / 4)

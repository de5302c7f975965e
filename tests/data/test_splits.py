"""Out-of-distribution splits: what each kind holds out of arrays, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from recbole_painvrl.data.splits.clusters import cluster_items, join_blocks
from recbole_painvrl.data.splits.environment import find_environments, reference_model
from recbole_painvrl.data.splits.group import hold_values
from recbole_painvrl.data.splits.items import draw_clusters, draw_items, release
from recbole_painvrl.data.splits.latest import hold_latest
from recbole_painvrl.data.splits.popularity import hold_uniform
from recbole_painvrl.data.splits.rules import assign_sets
from recbole_painvrl.data.splits.settings import KINDS, resolve_split
from recbole_painvrl.data.splits.statistics import as_text, describe
from recbole_painvrl.data.splits.table import DROPPED, TEST, TEST_OOD, TRAIN, VALID, VALID_OOD, Table
from recbole_painvrl.errors import UserError

USERS, ITEMS = 60, 30


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def long_tail(repeats: bool = False, ready: bool = False) -> Table:
    """60 users with 10 of 30 items each, item i being picked about as often as 1 / (i + 1), 5 % twice if asked."""
    draw = random(7)
    weights = 1 / np.arange(1, ITEMS + 1)
    picked = [draw.choice(ITEMS, 10, replace=False, p=weights / weights.sum()) for _ in range(USERS)]
    users, items = np.repeat(np.arange(USERS), 10), np.concatenate(picked)
    if repeats:
        again = draw.choice(len(users), len(users) // 20, replace=False)
        users, items = np.append(users, users[again]), np.append(items, items[again])
    parts = draw.choice([TRAIN, VALID, TEST], len(users), p=[0.8, 0.1, 0.1]) if ready else np.zeros(len(users), int)
    items = np.unique(items, return_inverse=True)[1]
    return Table(users, items, parts)


def assign(table: Table, held: np.ndarray, **more: object) -> tuple[np.ndarray, dict[str, int]]:
    settings = {"takeable": np.ones(len(table), bool), "whole_items": False, "keep_cold_users": False}
    settings |= {"validation_share": 0.0, "random": random(), **more}
    assigned = assign_sets(table, held, **settings)  # type: ignore[arg-type]
    return assigned.labels, assigned.dropped


# popularity


def spread(counts: np.ndarray) -> float:
    return float(counts.std() / counts.mean())


def test_popularity_makes_the_items_of_the_test_set_uniform() -> None:
    table = long_tail()
    held = hold_uniform(table, np.ones(len(table), bool), 0.1, 1.0, random())
    counts = np.bincount(table.items[held], minlength=table.n_items)
    assert held.sum() == round(0.1 * len(table))
    assert counts.max() - counts.min() <= 1  # every item has at least two pairs here
    assert spread(counts) < 0.3 * spread(np.bincount(table.items))


def test_popularity_leaves_rare_items_the_share_of_the_cap() -> None:
    table = long_tail()
    held = hold_uniform(table, np.ones(len(table), bool), 0.3, 0.5, random())
    sizes, taken = np.bincount(table.items), np.bincount(table.items[held], minlength=table.n_items)
    assert (taken <= sizes / 2).all() and held.sum() == round(0.3 * len(table))
    room = np.floor(sizes / 2)
    free = taken[taken < room]
    assert free.max() - free.min() <= 1  # all items that the cap does not bind have the same number


def test_popularity_takes_pairs_whole_and_only_eligible_ones() -> None:
    table = long_tail(repeats=True, ready=True)
    eligible = table.in_sets(["train"])
    held = hold_uniform(table, eligible, 0.1, 0.5, random())
    assert not (held & ~eligible).any()
    assert np.isin(table.pairs[~held], table.pairs[held]).sum() == 0


def test_popularity_says_what_the_cap_leaves() -> None:
    table = long_tail()
    with pytest.raises(UserError, match=r"share: 0.6 of 600 pairs is 360, but with cap 0.3 only \d+ can be taken"):
        hold_uniform(table, np.ones(len(table), bool), 0.6, 0.3, random())


# time, group


def test_time_holds_out_what_is_later_than_all_the_rest() -> None:
    times = random().integers(0, 50, 200).astype(float)
    held = hold_latest(times, 0.25)
    assert times[held].min() > times[~held].max() and 0 < held.sum() <= 50


def test_time_without_a_moment_to_part_at() -> None:
    with pytest.raises(UserError, match=r"the latest 0\.5 of the interactions have one timestamp; raise share"):
        hold_latest(np.array([1.0, 2.0, 2.0, 2.0]), 0.5)


def test_group_matches_whole_cells_parts_of_lists_and_numbers() -> None:
    cells = np.array(["Horror", "Sci-Fi Horror", "Drama", ""], dtype=object)
    assert hold_values(cells, ["Horror"], " ", "column class").tolist() == [True, True, False, False]
    assert hold_values(cells, ["Horror"], None, "column class").tolist() == [True, False, False, False]
    assert hold_values(np.array(["5", "4.0"]), ["4", "5.0"], None, "column rating").all()
    with pytest.raises(UserError, match=r"column class has no value 'Horor' \(it has .*\)\. Did you mean 'Horror'"):
        hold_values(cells, ["Horor"], " ", "column class")


# items and clusters


@pytest.mark.parametrize("share", [0.001, 0.2, 0.999])
def test_some_items_but_not_all_are_drawn(share: float) -> None:
    drawn = draw_items(40, share, random())
    assert drawn.sum() == min(max(1, round(share * 40)), 39)


@pytest.mark.parametrize("seed", range(20))
def test_clusters_come_near_the_share_and_are_not_all(seed: int) -> None:
    cluster_of_item = random(seed).integers(0, 5, 100)
    drawn = draw_clusters(cluster_of_item, 0.2, random(seed))
    assert 1 <= len(drawn) < 5 and abs(np.isin(cluster_of_item, drawn).mean() - 0.2) < 0.15
    assert len(draw_clusters(cluster_of_item, 0.99, random(seed))) == 4
    assert len(draw_clusters(cluster_of_item, 0.01, random(seed))) == 1


def test_clusters_of_planted_blobs_are_found() -> None:
    truth = np.repeat([0, 1, 2], 10)
    blobs = [10.0 * np.eye(3)[truth] + random(seed).normal(0, 0.1, (30, 3)) for seed in (0, 1)]
    found = cluster_items(join_blocks([block.astype(np.float32) for block in blobs]), 3, 5)
    assert len({(a, b) for a, b in zip(truth, found, strict=True)}) == 3
    with pytest.raises(UserError, match="30 clusters need as many items of different features, but there are 2"):
        cluster_items(np.repeat(np.eye(2, dtype=np.float32), 20, axis=0), 30, 5)


def test_modalities_have_equal_say() -> None:
    blocks = [random(0).normal(0, 100, (50, 4)), random(1).normal(5, 0.01, (50, 64)), np.ones((50, 2))]
    joined = join_blocks(blocks)
    variance = joined.var(axis=0)
    assert variance[:4].sum() == pytest.approx(1, rel=1e-4) and variance[4:68].sum() == pytest.approx(1, rel=1e-4)
    assert not joined[:, 68:].any()


def test_released_pairs_keep_every_item_known_and_come_from_training_first() -> None:
    table = long_tail(repeats=True, ready=True)
    held = np.isin(table.items, [0, 3, 9, table.n_items - 1])
    left = release(table, held, table.items, 0.1, random())
    back = held & ~left
    assert set(table.items[back]) == {0, 3, 9, table.n_items - 1} and not (left & ~held).any()
    for item in set(table.items[back]):
        pairs = len(set(table.pairs[held & (table.items == item)]))
        assert len(set(table.pairs[back & (table.items == item)])) == np.ceil(0.1 * pairs)
    assert (table.parts[np.intersect1d(table.first_rows, np.flatnonzero(back))] == TRAIN).all()
    assert not np.isin(table.pairs[left], table.pairs[~left]).any()


# environments


def test_the_reference_model_scores_as_the_factorization_and_finds_environments() -> None:
    table, features = long_tail(), random(3).normal(size=(ITEMS, 6)).astype(np.float32)
    frozen, projection = reference_model(table, features[: table.n_items], 1)
    scores = frozen.user_id @ frozen.item_id.T + frozen.user_feature @ (frozen.features @ projection.T).T
    own = scores[table.users + 1, table.items + 1].mean()
    assert not scores[0].any() and own > scores[1:, 1:].mean() + scores[1:, 1:].std()
    labels = [find_environments(table, features[: table.n_items], 3, seed) for seed in (1, 1, 2)]
    assert np.array_equal(labels[0], labels[1]) and not np.array_equal(labels[0], labels[2])
    assert set(labels[0]) == {0, 1, 2}


# what holds for every kind


@pytest.mark.parametrize("whole_items", [False, True])
@pytest.mark.parametrize("ready", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_no_pair_is_in_two_sets(whole_items: bool, ready: bool, share: float) -> None:
    table = long_tail(repeats=True, ready=ready)
    held = np.isin(table.items, [1, 4, 8, 11, 15]) if whole_items else random(5).random(len(table)) < 0.2
    labels, dropped = assign(table, held, whole_items=whole_items, validation_share=share)
    ood = {TEST_OOD, VALID_OOD}
    pairs = {number: set(table.pairs[labels == number]) for number in range(5)}
    assert not pairs[TEST_OOD] & pairs[VALID_OOD] and bool(pairs[VALID_OOD]) == (share > 0)
    assert all(not pairs[a] & pairs[b] for a in ood for b in (TRAIN, VALID, TEST))
    assert (labels == DROPPED).sum() == sum(dropped.values())
    untouched = ~held & (labels != DROPPED)
    assert np.array_equal(labels[untouched], table.parts[untouched])
    if whole_items:
        items = {number: set(table.items[labels == number]) for number in range(5)}
        assert not items[TEST_OOD] & items[VALID_OOD]
        assert all(not items[a] & items[b] for a in ood for b in (TRAIN, VALID, TEST))


def test_sets_that_may_not_be_taken_from() -> None:
    table = long_tail(ready=True)
    held, takeable = np.isin(table.items, [1, 4]), table.in_sets(["test"])
    labels, _ = assign(table, held, takeable=takeable)
    assert np.array_equal(labels[held & ~takeable], table.parts[held & ~takeable])
    labels, dropped = assign(table, held, takeable=takeable, whole_items=True)
    assert (labels[held & ~takeable] == DROPPED).all()
    assert dropped["of held-out items in other sets"] == (held & ~takeable).sum()


def test_users_without_training_are_dropped_or_kept() -> None:
    table = Table(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 2, 0, 2]), np.array([TRAIN, TRAIN, TRAIN, TRAIN, TEST]))
    held = np.array([False, True, True, True, False])
    labels, dropped = assign(table, held)
    assert labels.tolist() == [TRAIN, TEST_OOD, DROPPED, DROPPED, DROPPED]  # the split took what user 2 trained on
    assert dropped == {"of users without training": 3}
    assert assign(table, held, keep_cold_users=True)[0].tolist() == [TRAIN, TEST_OOD, TEST_OOD, TEST_OOD, TEST]


def test_empty_sets_are_refused() -> None:
    table = long_tail()
    with pytest.raises(UserError, match="no interaction is left for training"):
        assign(table, np.ones(len(table), bool))
    with pytest.raises(UserError, match="test_ood is empty; hold out more"):
        assign(table, np.zeros(len(table), bool))
    with pytest.raises(
        UserError, match=r"test_ood is empty \(10 interactions of users without training were dropped\)"
    ):
        assign(table, table.users == 3)
    with pytest.raises(UserError, match="validation_share: a single item"):
        assign(table, table.items == 3, whole_items=True, validation_share=0.5)


def test_counts() -> None:
    table = Table(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 2, 0]), np.zeros(5, int))
    labels = np.array([TRAIN, TEST, TRAIN, TEST_OOD, TEST_OOD])
    found = describe(table, labels)
    assert list(found) == ["train", "test", "test_ood"]
    ood = {"pairs": 2, "users": 2, "items": 2, "mean_popularity": 1.0}
    assert found["test_ood"] == {**ood, "cold_items": 0.5, "cold_pairs": 0.5, "cold_users": 0.5}
    assert "dropped: 3 interactions of nobody" in as_text(found, {"of nobody": 3})


# the key


def test_a_name_is_a_kind_with_its_defaults() -> None:
    assert resolve_split(None) is None
    for kind in set(KINDS) - {"group"}:
        assert resolve_split(kind) == resolve_split({"kind": kind})
    assert resolve_split("cold_items")["seed"] == 2023  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("popular", r"kind: 'popular' is none of .*Did you mean 'popularity'"),
        ({"share": 0.2}, r"is no kind"),
        ({"kind": "time", "shares": 0.2}, r"unknown key 'shares'; kind time takes share, .*Did you mean 'share'"),
        ({"kind": "time", "clusters": 3}, r"unknown key 'clusters'"),
        ({"kind": "time", "share": 0}, r"share: expected a number above 0 and below 1, found 0"),
        ({"kind": "time", "share": 1}, r"share: expected"),
        ({"kind": "cold_clusters", "clusters": 1}, r"clusters: expected a whole number from 2"),
        ({"kind": "cold_items", "candidates": "old"}, r"candidates must be one of all, new"),
        ({"kind": "time", "validation_share": 1.0}, r"validation_share: expected"),
        ({"kind": "time", "sets": ["ood"]}, r"sets: expected a list of some of train, valid, test"),
        ({"kind": "time", "cold_users": True}, r"cold_users must be one of drop, keep"),
        ({"kind": "group", "field": "class"}, r"group needs field .* and values"),
        ({"kind": "environment", "values": [1]}, r"environments that are found have no names"),
    ],
)
def test_refused_settings(given: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_split(given)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: hold_uniform(long_tail(), np.ones(USERS * 10, bool), 0.2, 0.5, random(seed)),
        lambda seed: draw_items(40, 0.2, random(seed)),
        lambda seed: np.array(draw_clusters(np.arange(100) % 20, 0.2, random(seed))),
    ],
)
def test_seeds_decide(draw: Callable[[int], np.ndarray]) -> None:
    assert np.array_equal(draw(1), draw(1)) and not np.array_equal(draw(1), draw(2))

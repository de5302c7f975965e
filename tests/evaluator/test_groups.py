"""Groups of positives: by hand, and properties on random lists."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
import torch
from recbole.evaluator import Evaluator

from recbole_painvrl.config import Config
from recbole_painvrl.evaluator import groups as module
from recbole_painvrl.evaluator.collector import hits_and_positives
from recbole_painvrl.evaluator.groupings import _of_tokens, quantile_groups
from recbole_painvrl.evaluator.groups import Grouping, extremes, group_values, groups_csv
from recbole_painvrl.evaluator.lists import Lists, places_of_positives

METRICS = ["Recall", "NDCG", "MRR", "Hit", "Precision", "MAP", "NDCG_hit"]


def evaluator(depth: int) -> Evaluator:
    return Evaluator(Config("BPR", "ml-100k", config_dict={"topk": [1, depth], "metrics": METRICS}))


def random_lists(seed: int, n_users: int = 60, n_items: int = 40, depth: int = 5) -> tuple[Lists, torch.Tensor]:
    """Lists of random scores, and RecBole's hits and numbers of positives [U, K + 1]."""
    source = torch.Generator().manual_seed(seed)
    positive = torch.rand(n_users, n_items, generator=source) < 0.15
    positive[:, 3] = True
    recommended = torch.rand(n_users, n_items, generator=source).topk(depth).indices
    rows, items = positive.nonzero(as_tuple=True)
    found = places_of_positives(recommended, rows, items, n_items).numpy().T
    return Lists(np.arange(1, n_users + 1), *found, depth=depth), hits_and_positives(recommended, rows, items, n_items)


def test_places_by_hand() -> None:
    recommended = torch.tensor([[4, 2, 7], [2, 1, 4]])
    rows, items = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([7, 1, 2, 9, 7])
    assert places_of_positives(recommended, rows, items, 10).tolist() == [[0, 1, 3], [0, 7, 2], [1, 2, 0], [1, 9, 3]]


def test_a_group_restricts_the_positives_of_each_user_by_hand() -> None:
    """User 1 has a hit at place 0 and a miss in group a, a hit at place 1 in b; user 2 a hit at place 1 in a."""
    lists = Lists(np.array([1, 2]), np.array([0, 0, 0, 1]), np.array([5, 6, 7, 5]), np.array([0, 2, 1, 1]), 2)
    grouping = Grouping("x", ("a", "b", "nobody"), np.arange(4), np.array([0, 0, 1, 0]))
    found = group_values(evaluator(2), lists, grouping, 12)["groups"]
    assert set(found) == {"a", "b"}
    assert (found["a"]["users"], found["a"]["pairs"]) == (2, 3)
    assert found["a"]["recall@2"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["a"]["recall@1"] == pytest.approx(1 / 4)
    assert found["a"]["mrr@2"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["a"]["ndcg@2"] == pytest.approx((1 / (1 + 1 / np.log2(3)) + 1 / np.log2(3)) / 2)
    assert found["a"]["precision@2"] == pytest.approx(1 / 2)
    assert found["b"]["mrr@2"] == pytest.approx(1 / 2)
    assert found["b"]["ndcg_hit@2"] == pytest.approx(1 / np.log2(3))
    assert (found["b"]["users"], found["b"]["pairs"]) == (1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_one_group_of_all_is_the_evaluation_itself(seed: int) -> None:
    lists, topk = random_lists(seed)
    struct = module.DataStruct()
    struct.set("rec.topk", topk)
    everything = Grouping("all", ("all",), np.arange(len(lists.rows)), np.zeros(len(lists.rows), dtype=int))
    found = group_values(evaluator(5), lists, everything, 6)["groups"]["all"]
    expected = evaluator(5).evaluate(struct)
    assert {name: found[name] for name in expected} == pytest.approx(dict(expected), abs=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_hits_of_a_partition_add_up(seed: int) -> None:
    """Precision times K and users is the number of hits."""
    lists, topk = random_lists(seed)
    codes = np.random.default_rng(seed).integers(0, 4, len(lists.rows))
    parts = Grouping("parts", ("a", "b", "c", "d"), np.arange(len(codes)), codes)
    found = group_values(evaluator(5), lists, parts, 12)["groups"].values()
    assert sum(5 * one["users"] * one["precision@5"] for one in found) == pytest.approx(int(topk[:, :5].sum()))
    assert sum(one["pairs"] for one in found) == int(topk[:, 5].sum())


@pytest.mark.parametrize("seed", range(3))
def test_groups_of_users_average_their_own_values(seed: int) -> None:
    lists, topk = random_lists(seed)
    halves = lists.users % 2
    found = group_values(
        evaluator(5), lists, Grouping("half", ("even", "odd"), np.arange(len(lists.rows)), halves[lists.rows]), 12
    )["groups"]
    recall = (topk[:, :5].sum(dim=1) / topk[:, 5]).numpy()
    assert found["odd"]["recall@5"] == pytest.approx(recall[halves == 1].mean())
    assert found["even"]["recall@5"] == pytest.approx(recall[halves == 0].mean())


def test_small_groups_are_never_the_worst() -> None:
    groups = {
        "tiny": {"users": 9, "pairs": 9, "hit@1": 0.0},
        "low": {"users": 10, "pairs": 20, "hit@1": 0.25},
        "high": {"users": 50, "pairs": 60, "hit@1": 0.75},
    }
    expected = {"worst": {"hit@1": 0.25}, "worst_group": {"hit@1": "low"}, "spread": {"hit@1": 0.5}}
    assert extremes(groups, ["hit@1"], 6) == expected
    assert extremes({"tiny": groups["tiny"]}, ["hit@1"], 6) == {"worst": {}, "worst_group": {}, "spread": {}}


def test_quantiles_keep_equal_values_together() -> None:
    values = np.array([0, 1, 1, 1, 2, 3, 4, 5, 9])
    labels, codes = quantile_groups(values, 4, values > 0, "0")
    assert labels == ["0", "1", "2", "3..4", "5..9"]
    assert codes.tolist() == [0, 1, 1, 1, 2, 3, 3, 4, 4]
    assert quantile_groups(np.zeros(3), 4, np.zeros(3, dtype=bool), "0")[0] == ["0"]


def test_rare_values_are_one_group_and_a_sequence_is_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_painvrl.evaluator.groupings.MOST_VALUES", 2)
    tokens = np.array(["[PAD]", "rock", "jazz", "folk"])
    values = np.array([[1, 2], [1, 0], [2, 0], [3, 1], [0, 0]])
    labels, (positives, groups) = _of_tokens(values, True, np.arange(5), tokens)
    pairs = sorted((int(p), labels[g]) for p, g in zip(positives, groups, strict=True))
    assert pairs == [(0, "jazz"), (0, "rock"), (1, "rock"), (2, "jazz"), (3, "(other)"), (3, "rock"), (4, "(other)")]


def test_csv_has_one_line_a_group_and_metric() -> None:
    content = {"groups": {"a, b": {"users": 3, "pairs": 4, "hit@1": 0.5, "mrr@1": 0.25}}}
    rows = list(csv.DictReader(io.StringIO(groups_csv({"test": {"genre": content}}))))
    assert [(row["group"], row["users"], row["metric"], row["value"]) for row in rows] == [
        ("a, b", "3", "hit@1", "0.5"),
        ("a, b", "3", "mrr@1", "0.25"),
    ]

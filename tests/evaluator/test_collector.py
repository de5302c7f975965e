"""The collector gives RecBole's metrics the numbers RecBole's own collector gives them, and knows the users."""

from __future__ import annotations

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import Collector as StockCollector

from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.evaluator.collector import RunCollector, hits_and_positives, side_by_side
from recbole_painvrl.evaluator.per_user import per_user_values

USERS, ITEMS = 23, 40


def config(**more) -> Config:
    return Config("BPR", "ml-100k", config_dict={"topk": [3, 7], "metrics": ["Recall", "NDCG", "MRR", "MAP"], **more})


def batches(seed: int, size: int = 5):
    """Random scores and positives, in batches of users; a few pairs are listed twice."""
    source = torch.Generator().manual_seed(seed)
    for users in torch.arange(1, USERS + 1).split(size):
        scores = torch.randn(len(users), ITEMS, generator=source)
        scores[:, 0] = -torch.inf
        positive = torch.rand(len(users), ITEMS, generator=source) < 0.15
        positive[:, 1] = True
        rows, items = positive.nonzero(as_tuple=True)
        rows, items = torch.cat([rows, rows[:2]]), torch.cat([items, items[:2]])
        yield scores, Interaction({"user_id": users}), rows, items


def filled(collector, seed: int):
    for batch in batches(seed):
        collector.eval_batch_collect(*batch)
    return collector.get_data_struct()


@pytest.mark.parametrize("seed", range(3))
def test_hits_equal_a_slow_loop(seed: int) -> None:
    for scores, _, rows, items in batches(seed):
        recommended = scores.topk(7).indices
        found = hits_and_positives(recommended, rows, items, ITEMS)
        sets = [{int(i) for u, i in zip(rows, items, strict=True) if u == row} for row in range(len(scores))]
        expected = [
            [int(int(i) in known) for i in top] + [len(known)] for top, known in zip(recommended, sets, strict=True)
        ]
        assert found.tolist() == expected


def test_no_positive_at_all_counts_zero() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    assert hits_and_positives(torch.tensor([[1, 2]]), nothing, nothing, ITEMS).tolist() == [[0, 0, 0]]


def test_metrics_equal_those_of_recboles_collector() -> None:
    stock, ours = StockCollector(config()), RunCollector(config())
    expected, found = filled(stock, seed=4), filled(ours, seed=4)
    assert torch.equal(expected.get("rec.topk"), found.get("rec.topk"))
    assert Evaluator(config()).evaluate(expected) == Evaluator(config()).evaluate(found)


def test_other_metrics_are_collected_as_well() -> None:
    every = ["Recall", "GAUC", "ItemCoverage", "ShannonEntropy"]
    collector = RunCollector(config(metrics=every, valid_metric="Recall@3"))
    collector.data_struct.set("data.num_items", ITEMS)
    result = Evaluator(config(metrics=every, valid_metric="Recall@3")).evaluate(filled(collector, seed=5))
    assert {"gauc", "recall@3", "itemcoverage@3", "shannonentropy@7"} <= set(result)


def test_a_second_evaluation_starts_empty() -> None:
    collector = RunCollector(config())
    first, second = filled(collector, seed=6), filled(collector, seed=6)
    assert torch.equal(first.get("rec.topk"), second.get("rec.topk"))


def test_values_of_users_average_to_the_metric() -> None:
    collector, evaluator = RunCollector(config(metric_decimal_place=12)), Evaluator(config(metric_decimal_place=12))
    result = evaluator.evaluate(filled(collector, seed=7))
    per_user = per_user_values(evaluator, collector)
    assert per_user.users.tolist() == list(range(1, USERS + 1))
    assert {name: pytest.approx(values.mean()) for name, values in per_user.values.items()} == dict(result)


def test_users_of_sampled_negatives_are_taken_once() -> None:
    collector = RunCollector(config())
    users = torch.tensor([4, 4, 4, 9, 9])
    scores = torch.randn(2, ITEMS, generator=torch.Generator().manual_seed(1))
    collector.eval_batch_collect(scores, Interaction({"user_id": users}), torch.tensor([0, 1]), torch.tensor([1, 2]))
    assert collector.get_data_struct().get("rec.users").tolist() == [4, 9]


def test_a_list_longer_than_the_items_is_refused() -> None:
    collector = RunCollector(config(topk=[ITEMS + 1], valid_metric=f"Recall@{ITEMS + 1}"))
    with pytest.raises(UserError, match="topk: 41 is more than the data set's 39 items"):
        filled(collector, seed=8)


def test_parts_of_several_processes_are_those_of_one() -> None:
    """The rows of positives are counted within a part; a process without users has nothing."""
    whole = filled(RunCollector(config()), 3)
    parts = []
    for wanted in (range(2), range(2, 4), range(4, 5)):
        collector = RunCollector(config())
        for batch in (batch for number, batch in enumerate(batches(3)) if number in wanted):
            collector.eval_batch_collect(*batch)
        parts.append(dict(collector.get_data_struct()._data_dict))
    joined = side_by_side([*parts[:2], {}, parts[2]])
    expected = dict(whole._data_dict)
    assert joined.keys() == expected.keys()
    for key, values in expected.items():
        assert torch.equal(joined[key], values), key

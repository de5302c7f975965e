"""NDCG over the hits alone, by hand and against RecBole's."""

from __future__ import annotations

import numpy as np
import pytest
from recbole.evaluator.metrics import NDCG

from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.evaluator.metrics import NDCG_hit


def both(hits: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    config = {"topk": [hits.shape[1]], "metric_decimal_place": 6}
    return NDCG_hit(config).metric_info(hits, positives), NDCG(config).metric_info(hits, positives)


def test_values_by_hand_where_the_two_definitions_differ() -> None:
    """Hits at places 2 and 3 of three, four positives."""
    ours, recboles = both(np.array([[False, True, True]]), np.array([4]))
    second, third = 1 / np.log2(3), 1 / 2
    assert ours[0] == pytest.approx([0, second, (second + third) / (1 + second)])
    assert recboles[0] == pytest.approx([0, second / (1 + second), (second + third) / (1 + second + third)])


@pytest.mark.parametrize("seed", range(5))
def test_at_least_recboles_and_equal_where_all_that_could_be_hit_is(seed: int) -> None:
    random = np.random.default_rng(seed)
    hits = random.random((200, 6)) < 0.4
    positives = np.maximum(hits.sum(axis=1) + random.integers(0, 3, 200), 1)
    ours, recboles = both(hits, positives)
    assert (ours >= recboles - 1e-12).all()
    assert ours.max() <= 1 + 1e-12
    full = hits.cumsum(axis=1) == np.minimum(positives[:, None], np.arange(1, 7))
    assert full.any()
    assert ours[full] == pytest.approx(recboles[full])
    assert (ours[~hits.any(axis=1)] == 0).all()


def test_it_is_asked_for_as_recboles_metrics_are() -> None:
    settings = {"metrics": ["Recall", "NDCG_hit"], "topk": [5], "valid_metric": "NDCG_hit@5"}
    assert Config("BPR", "ml-100k", config_dict=settings)["metrics"] == ["Recall", "NDCG_hit"]
    with pytest.raises(UserError, match="Did you mean 'NDCG_hit'"):
        Config("BPR", "ml-100k", config_dict={"metrics": ["NDCG_hits"]})

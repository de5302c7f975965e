"""The value of each metric for each user: groups, spreads and tests are made from these later, without retraining."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recbole.evaluator import Evaluator
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct

from recbole_painvrl.evaluator.collector import RunCollector


@dataclass(frozen=True)
class PerUser:
    """Values of one evaluation.

    Attributes:
        users: internal ids of the users [U]; 0 elements if no metric of the evaluation is a top-k metric.
        values: metric name, such as ``recall@10``, to its values [U] in the order of ``users``.
    """

    users: NDArray[Any]
    values: dict[str, NDArray[Any]]


def per_user_values(evaluator: Evaluator, collector: RunCollector) -> PerUser:
    """Returns the value of every top-k metric of ``evaluator`` for each user of the latest evaluation."""
    struct = collector.latest
    if "rec.topk" not in struct:
        return PerUser(np.zeros(0, dtype=np.int64), {})
    return PerUser(struct.get("rec.users").numpy(), topk_values(evaluator, struct))


def topk_values(evaluator: Evaluator, struct: DataStruct) -> dict[str, NDArray[Any]]:
    """Returns the value of every top-k metric of ``evaluator`` for each row of ``rec.topk`` in ``struct``."""
    values = {}
    for name, metric in evaluator.metric_class.items():
        if isinstance(metric, TopkMetric):
            table = _table(metric, struct)
            values.update({f"{name}@{k}": table[:, k - 1].astype(np.float64) for k in metric.topk})
    return values


def _table(metric: TopkMetric, struct: DataStruct) -> NDArray[Any]:
    """Returns the metric's values [U, K] at the cutoffs 1..K; not every metric wants the number of positives."""
    used = metric.used_info(struct)
    values: NDArray[Any] = metric.metric_info(*used[: len(inspect.signature(metric.metric_info).parameters)])
    return values

"""The value of each metric for each user: groups, spreads and tests are made from these later, without retraining."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recbole.evaluator import Evaluator
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.collector import DataStruct

from recbole_painvrl.evaluator.collector import RunCollector

ROWS = 16_384  # of 20 places: 2.6 MB a table


@dataclass(frozen=True)
class PerUser:
    """Values of one evaluation.

    Attributes:
        users: internal ids of the users [U]; 0 elements if no metric of the evaluation is a top-k metric.
        values: metric name, such as ``recall@10``, to its values [U] in the order of ``users``.
    """

    users: NDArray[Any]
    values: dict[str, NDArray[Any]]


class RunEvaluator(Evaluator):
    """RecBole's evaluator with top-k metrics in blocks of users: for many users they took more than the model."""

    def evaluate(self, dataobject: DataStruct) -> OrderedDict[str, Any]:
        """Returns each metric's value, the top-k ones as means over users."""
        values = topk_values(self, dataobject) if "rec.topk" in dataobject else {}
        found: OrderedDict[str, Any] = OrderedDict()
        for name, metric in self.metric_class.items():
            if isinstance(metric, TopkMetric):
                keys = (f"{name}@{k}" for k in metric.topk)
                found.update((key, round(float(values[key].mean()), metric.decimal_place)) for key in keys)
            else:
                found.update(metric.calculate_metric(dataobject))
        return found


def per_user_values(evaluator: Evaluator, collector: RunCollector) -> PerUser:
    """Returns the value of every top-k metric of ``evaluator`` for each user of the latest evaluation."""
    struct = collector.latest
    if "rec.topk" not in struct:
        return PerUser(np.zeros(0, dtype=np.int64), {})
    return PerUser(struct.get("rec.users").numpy(), topk_values(evaluator, struct))


def topk_values(evaluator: Evaluator, struct: DataStruct) -> dict[str, NDArray[Any]]:
    """Returns the value of every top-k metric of ``evaluator`` for each row of ``rec.topk`` in ``struct``.

    Metrics make several tables of all cutoffs, users x K in double precision, so they see ``ROWS`` rows at a time.
    """
    metrics = {name: one for name, one in evaluator.metric_class.items() if isinstance(one, TopkMetric)}
    rows = struct.get("rec.topk")
    values = {f"{name}@{k}": np.empty(len(rows)) for name, one in metrics.items() for k in one.topk}
    for start in range(0, len(rows), ROWS):
        block = DataStruct()
        block.set("rec.topk", rows[start : start + ROWS])
        for name, metric in metrics.items():
            table = _table(metric, block)
            for k in metric.topk:
                values[f"{name}@{k}"][start : start + ROWS] = table[:, k - 1]
    return values


def _table(metric: TopkMetric, struct: DataStruct) -> NDArray[Any]:
    """Returns the metric's values [U, K] at the cutoffs 1..K; not every metric wants the number of positives."""
    used = metric.used_info(struct)
    values: NDArray[Any] = metric.metric_info(*used[: len(inspect.signature(metric.metric_info).parameters)])
    return values

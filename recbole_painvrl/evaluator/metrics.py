"""NDCG as the multimedia line of papers computes it, known to RecBole under the name ``NDCG_hit``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from recbole.evaluator.base_metric import TopkMetric
from recbole.evaluator.register import metric_information, metric_types, metrics_dict


class NDCG_hit(TopkMetric):
    """NDCG whose ideal ranking holds the hits alone, so that it measures the order of the hits and no misses.

    At least RecBole's NDCG, whose ideal holds min(K, positives) items; equal to it where all those are hits. A user
    without a hit has 0.

    Source: the evaluators of MMGCN and InvRL; figures of that line compare with no other definition.
    """

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        """Returns the mean over users for each k of ``topk``."""
        means: dict[str, float] = self.topk_result("ndcg_hit", self.metric_info(*self.used_info(dataobject)))
        return means

    def metric_info(self, pos_index: NDArray[Any], pos_len: NDArray[Any] | None = None) -> NDArray[Any]:
        """Returns the values of users at the cutoffs 1..K.

        Args:
            pos_index: whether each recommended item is a positive, bool [U, K].
            pos_len: not needed.

        Returns:
            Values, float [U, K].
        """
        gains = 1.0 / np.log2(np.arange(2, pos_index.shape[1] + 2))
        ideal = np.concatenate([[1.0], np.cumsum(gains)])  # without a hit the numerator is 0: any divisor will do
        values: NDArray[Any] = np.cumsum(pos_index * gains, axis=1) / ideal[np.cumsum(pos_index, axis=1)]
        return values


# RecBole fills these tables from its own module alone, and reads them whenever a metric is asked for by name.
metrics_dict["ndcg_hit"] = NDCG_hit
metric_information["ndcg_hit"] = NDCG_hit.metric_need
metric_types["ndcg_hit"] = NDCG_hit.metric_type

"""Repair of RecBole's collector, which four metrics crash."""

from __future__ import annotations

import copy

from recbole.evaluator.collector import Collector as StockCollector
from recbole.evaluator.collector import DataStruct
from torch import Tensor

# What belongs to one evaluation; the rest (item counts of the training set ...) is kept for the next one.
PER_EVALUATION = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


class Collector(StockCollector):
    """RecBole's collector that takes only tensors to the CPU.

    RecBole 1.2.1 calls ``.cpu()`` on numbers and counters too, so ItemCoverage, AveragePopularity, GiniIndex and
    TailPercentage crash in every environment.

    Source: https://github.com/RUCAIBox/RecBole/issues/2194
    """

    def get_data_struct(self) -> DataStruct:
        """Returns what was collected, on the CPU, and forgets what belongs to this evaluation alone."""
        collected = DataStruct()
        for key, value in self.data_struct._data_dict.items():
            collected.set(key, value.cpu() if isinstance(value, Tensor) else copy.deepcopy(value))
        for key in PER_EVALUATION:
            if key in self.data_struct:
                del self.data_struct[key]
        return collected

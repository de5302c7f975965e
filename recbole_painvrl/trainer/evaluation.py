"""Evaluation on drawn candidates and by ``predict``, in memory that does not grow with users x items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import recbole.trainer
import torch
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_painvrl.evaluator.candidates import table
from recbole_painvrl.evaluator.collector import RunCollector

_Base: type[Any] = recbole.trainer.Trainer if TYPE_CHECKING else object
PAIRS = 65_536  # that a model scores at once by `predict`: many enough to be fast, few enough for wide features


class EvaluationMixin(_Base):
    """How a RecBole trainer class scores pairs; list it before that class among the bases.

    Attributes:
        test_batch_size: Pairs that ``predict`` gets at once. RecBole takes ``eval_batch_size`` for both this and the
            scores of a batch, which with all items as candidates are not computed pair by pair.
    """

    eval_collector: RunCollector

    def __init__(self, config: Any, model: torch.nn.Module) -> None:
        super().__init__(config, model)
        self.test_batch_size = min(config["eval_batch_size"], PAIRS)

    def _neg_sample_batch_eval(self, batched_data: Any) -> tuple[Any, Tensor, Any, Any]:
        """Scores a batch as RecBole does; a table of candidates takes the place of its matrix of all items."""
        if self.config["eval_type"] == EvaluatorType.VALUE:
            return super()._neg_sample_batch_eval(batched_data)
        interaction, rows, positive_u, positive_i = batched_data
        if len(interaction) <= self.test_batch_size:
            scores = self.model.predict(interaction.to(self.device))
        else:
            scores = self._spilt_predict(interaction, len(interaction))
        items = interaction[self.config["ITEM_ID_FIELD"]].to(scores.device)
        found = table(rows.to(scores.device), items, scores, self.tot_item_num, max(self.config["topk"]))
        self.eval_collector.items = found.items
        rows, items = positive_u.to(scores.device), positive_i.to(scores.device)
        return interaction, found.scores, rows, found.columns(rows, items)

"""The trainer of this package's own recommenders: one fused optimizer over the model's parameter groups."""

from __future__ import annotations

from typing import Any

import recbole.trainer
import torch

from recbole_painvrl.errors import UserError
from recbole_painvrl.trainer.row_adam import RowAdam
from recbole_painvrl.trainer.run_trainer import RunMixin
from recbole_painvrl.trainer.steps import StepsMixin


class MultimodalTrainer(RunMixin, StepsMixin, recbole.trainer.Trainer):
    """RecBole's training loop with the model's own parameter groups and random generators.

    Regularizers are the groups' weight decays: they are added straight to the gradient, so no table-sized term enters
    the autograd graph.
    """

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        if kwargs or self.learner.lower() != "adam":
            return super()._build_optimizer(**{"params": self._parameter_groups(), **kwargs})
        self.model.row_gradients = self._takes_row_gradients()
        return RowAdam(self._parameter_groups(), lr=float(self.learning_rate))

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Returns the model's groups, whose own weight decays RecBole's key ``weight_decay`` adds to.

        Raises:
            UserError: The learner takes sparse gradients alone, which none of these models has.
        """
        if self.learner.lower() == "sparse_adam":
            raise UserError("learner: sparse_adam takes sparse gradients alone, but these are dense; use adam")
        further = float(self.weight_decay)
        groups = self.model.parameter_groups()
        return [{**group, "weight_decay": group.get("weight_decay", 0.0) + further} for group in groups]

    def _takes_row_gradients(self) -> bool:
        """Returns whether a table's gradient may be that of the touched rows alone.

        Processes add up whole ones, clipping and scaling look at them, and a GPU would launch each block by itself.
        """
        alone = self.ranks.size == 1 and self.device.type == "cpu"
        return bool(alone and not self.clip_grad_norm and not self.config["enable_scaler"])

    def before_epoch(self, epoch_idx: int, train_data: Any) -> None:
        """Lets the model do what it has to do before each epoch."""
        self.model.before_epoch()

    def trainer_state(self) -> dict:
        """Returns the states of the model's generators beside what every trainer keeps."""
        states = {name: source.get_state() for name, source in self.model.generators().items()}
        return {**super().trainer_state(), "generators": states}

    def load_trainer_state(self, state: dict) -> None:
        """Sets the model's generators to the states of :meth:`trainer_state`."""
        super().load_trainer_state(state)
        for name, source in self.model.generators().items():
            source.set_state(state["generators"][name])

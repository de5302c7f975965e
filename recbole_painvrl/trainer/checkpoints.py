"""The trainers' checkpoints: plain files that hold whatever later epochs depend on."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import recbole.trainer
from recbole.utils import set_color

from recbole_painvrl import checkpoint
from recbole_painvrl.distributed import Ranks
from recbole_painvrl.errors import UserError
from recbole_painvrl.trainer.state import (
    check_tokens,
    load_model,
    model_state,
    optimizer_states,
    plain_numbers,
    restore_optimizers,
    token_digests,
)

_Base: type[Any] = recbole.trainer.Trainer if TYPE_CHECKING else object

RESUMED = (
    "cur_step",
    "best_valid_score",
    "best_valid_result",
    "train_loss_dict",
    "seconds_train",
    "seconds_eval",
)


class CheckpointMixin(_Base):
    """The part of :class:`recbole_painvrl.trainer.RunMixin` that stores and continues a training."""

    best_valid_score: float
    best_valid_result: dict[str, float] | None
    saved_model_file: str
    _resumed_file: str | None
    _tokens: dict[str, str] | None  # token_digests of the resumed checkpoint, and of the data once fit has begun
    ranks: Ranks

    def _best_file(self) -> str:
        if self._resumed_file and not os.path.exists(self.saved_model_file):
            return self._resumed_file
        return self.saved_model_file

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        file = kwargs.pop("saved_model_file", self.saved_model_file)
        self._save(file, epoch + 1, valid=self._latest_valid or self.best_valid_result)
        if verbose:
            self.logger.info(set_color("Saving current", "blue") + f": {file}")

    def _save(self, file: str | Path, next_epoch: int, valid: dict[str, float] | None = None) -> None:
        if not self.ranks.main:
            return
        started = perf_counter()
        checkpoint.save(file, self._state(next_epoch, valid or self.best_valid_result))
        self._saved_at = perf_counter()
        self._save_seconds = self._saved_at - started

    def _state(self, next_epoch: int, valid: dict[str, float] | None) -> dict[str, Any]:
        return {
            "config": self.config.plain(),
            "epoch": next_epoch - 1,
            "tokens": self._tokens,
            **{name: getattr(self, name) for name in RESUMED},
            "best_valid_result": valid,
            **model_state(self.model),
            **optimizer_states(self),
            "model_numbers": plain_numbers(self.model),
            "random": {
                "global": checkpoint.random_states(),
                "loaders": checkpoint.loader_states(self._loaders),
            },
            "trainer": self.trainer_state(),
            "records_offset": self.run.offset if self.run else 0,
        }

    def _take_tokens(self, dataset: Any) -> None:
        """Notes whose rows the model has, once it is sure that a resumed one has had the same."""
        check_tokens(self._tokens, dataset, self._resumed_file or self.saved_model_file)
        self._tokens = token_digests(dataset)

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Continues from one of our files as if training had never stopped; later saves do not overwrite it.

        Raises:
            UserError: The file is missing, not one of ours, or of another model.
        """
        state = checkpoint.load(resume_file)
        if state["config"]["model"] != self.config["model"]:
            raise UserError(f"{resume_file}: a checkpoint of {state['config']['model']}, not of {self.config['model']}")
        load_model(self.model, state, self.device)
        for name, number in state["model_numbers"].items():
            setattr(self.model, name, number)
        self.load_trainer_state(state["trainer"])
        restore_optimizers(self, state)
        self.start_epoch = state["epoch"] + 1
        self._epoch = state["epoch"]
        for name in RESUMED:
            setattr(self, name, state[name])
        self._random = state["random"]
        self._tokens = state.get("tokens")
        self._resumed_file = str(resume_file)
        if self.run:
            self.run.rewind(state["records_offset"])
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.start_epoch}")

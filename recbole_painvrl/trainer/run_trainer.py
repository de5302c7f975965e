"""RecBole's trainers with plain checkpoints, exact resume, records and per-user results.

RecBole's own ``fit`` is called, not copied: everything here hangs on the methods it calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import recbole.trainer
import torch
from recbole.utils import set_color

from recbole_painvrl import checkpoint
from recbole_painvrl.distributed import Ranks, ranks
from recbole_painvrl.errors import UserError
from recbole_painvrl.evaluator.collector import RunCollector
from recbole_painvrl.evaluator.groupings import environments
from recbole_painvrl.evaluator.groups import Grouping, group_values
from recbole_painvrl.evaluator.per_user import PerUser, RunEvaluator, per_user_values
from recbole_painvrl.logs import tensorboard_below
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.signals import Ending
from recbole_painvrl.trainer.checkpoints import CheckpointMixin
from recbole_painvrl.trainer.evaluation import EvaluationMixin
from recbole_painvrl.trainer.faults import FaultMixin
from recbole_painvrl.trainer.loss_watch import LossWatch, culprits
from recbole_painvrl.trainer.state import load_model

SAVING_SHARE = 0.1


class RunMixin(FaultMixin, CheckpointMixin, EvaluationMixin):
    """What this package adds to a RecBole trainer class; list it before that class among the bases.

    A trainer works without a run folder too, and then stores the best model where RecBole would. With one
    (:meth:`attach`) it keeps ``model-best.pth`` and ``model-last.pth`` and records one line an event.

    A model may name the parts of its loss in an attribute ``loss_names``.

    Attributes:
        ending: where signals wait until training has stored its state; None lets them act at once.
        further_valid: loaders of validation sets beside the one that training stops by; they are evaluated at each
            validation and only recorded.
    """

    def __init__(self, config: Any, model: torch.nn.Module) -> None:
        if not isinstance(self, recbole.trainer.Trainer):
            raise UserError(f"{config['model']} is trained inside its own library, which this package does not drive")
        self.ranks = ranks(config)
        with tensorboard_below(config["output_dir"], self.ranks.main):
            super().__init__(config, model)
        self.run: RunFolder | None = None
        self.ending: Ending | None = None
        self.seconds_train = 0.0
        self.seconds_eval = 0.0
        self.eval_collector = RunCollector(config)
        self.evaluator = RunEvaluator(config)
        self.saved_model_file = _unique(self.saved_model_file, config)
        self.further_valid: dict[str, Any] = {}
        self._loaders: dict[str, Any] = {}
        self._random: dict[str, Any] | None = None
        self._keeps_last = False
        self._latest_valid: dict[str, float] | None = None
        self._epoch = self._first_epoch = -1
        self._saved_at = self._save_seconds = 0.0
        self._resumed_file = None
        self._tokens = None
        self._watch = LossWatch()

    # for subclasses

    def check_data(self, train_data: Any) -> None:
        """Raises a UserError, before anything is written, if the data lack what training needs; passes by default."""

    def before_epoch(self, epoch_idx: int, train_data: Any) -> None:
        """Does what has to be done between the previous epoch and this one; nothing by default."""

    def is_costly(self, epoch_idx: int) -> bool:
        """Returns whether :meth:`before_epoch` takes so long that the state before it is worth storing; no by default.

        Args:
            epoch_idx: The epoch.
        """
        return False

    def is_preparation(self, epoch_idx: int) -> bool:
        """Returns whether what an epoch trains is given up before the final training begins; no by default.

        Args:
            epoch_idx: The epoch.
        """
        return False

    def trainer_state(self) -> dict[str, Any]:
        """Returns further plain data that later epochs depend on."""
        return {}

    def load_trainer_state(self, state: dict[str, Any]) -> None:
        """Takes over what :meth:`trainer_state` returned."""

    def write_artifacts(self, run: RunFolder) -> None:
        """Writes files of the method into the run folder once the final model is loaded; none by default."""

    def further_results(self, loaders: dict[str, Any]) -> dict[str, Any]:
        """Returns what else ``result.json`` gets, once the best model is loaded and tested; nothing by default.

        Args:
            loaders: the validation set under ``valid`` and every whole test set under its name.
        """
        return {}

    # the run folder

    def attach(self, run: RunFolder) -> None:
        """Makes ``run`` the place of models and records."""
        self.run = run
        self.saved_model_file = str(run.best_model)

    def record(self, event: str, **values: Any) -> None:
        """Records one event if there is a run folder."""
        if self.run:
            self.run.record(event, **values)

    # training

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Trains as RecBole's ``fit`` does, from where a resumed checkpoint stood.

        Returns:
            Best validation score and result, as RecBole does.

        Raises:
            UserError: The loss or a parameter is not a number, the loss explodes, the disk is full, or the model was
                resumed and has been trained on data with other users or items.
        """
        self._take_tokens(train_data._dataset)
        self._loaders = {"train": train_data, "valid": valid_data}
        self._keeps_last = bool(saved and self.run)
        self._first_epoch = getattr(self, "start_epoch", 0)
        if self._complete():
            # RecBole's fit would store the last model over the best one here
            self.eval_collector.data_collect(train_data)
            return self.best_valid_score, self.best_valid_result
        try:
            best = super().fit(train_data, valid_data, verbose, saved, show_progress, callback_fn)
        finally:
            self.tensorboard.close()
        self.best_valid_score = float(self.best_valid_score)
        if self.run and self._keeps_last:
            self._save(self.run.last_model, self._epoch + 1)
        return float(best[0]), best[1]

    def _complete(self) -> bool:
        if not self._first_epoch:
            return False
        return self._first_epoch >= self.epochs or self.cur_step > self.stopping_step

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: Callable[..., Any] | None = None,
        show_progress: bool = False,
    ) -> float | tuple[float, ...]:
        self._epoch = epoch_idx
        self._enter_epoch(epoch_idx)
        started = perf_counter()
        self.before_epoch(epoch_idx, train_data)
        self._watch.begin(epoch_idx)
        watched = self._watch.watched(self.ranks.shared(loss_func or self.model.calculate_loss, self.model))
        loss = super()._train_epoch(train_data, epoch_idx, watched, show_progress)
        self._fail_at(self._watch.last_fault())
        self._check_parameters()
        self.ranks.check_equal(self.model)
        seconds = perf_counter() - started
        self.seconds_train += seconds
        total = sum(loss) if isinstance(loss, tuple) else loss
        self.record("train", epoch=epoch_idx, loss=total, losses=self._named(loss), seconds=round(seconds, 4))
        return loss

    def _enter_epoch(self, epoch_idx: int) -> None:
        if self._random is not None:
            # as late as this, so that whatever set-up drew from the generators does not matter
            checkpoint.set_random_states(self._random["global"])
            checkpoint.set_loader_states(self._loaders, self._random["loaders"])
            self._random = None
        elif self.run and self._keeps_last and epoch_idx > self._first_epoch and self._is_due(epoch_idx):
            self._save(self.run.last_model, epoch_idx)
        self.leave_if_asked()

    def leave_if_asked(self) -> None:
        """Ends training here, by the exception that its handler raises, if a signal has come."""
        if self.ending:
            self.ending.leave()

    def _is_due(self, epoch_idx: int) -> bool:
        asked = self.ending is not None and self.ending.asked
        return asked or self._worth_saving() or self.is_costly(epoch_idx)

    def _worth_saving(self) -> bool:
        return perf_counter() - self._saved_at >= self._save_seconds / SAVING_SHARE

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        started = perf_counter()
        score, result = super()._valid_epoch(valid_data, show_progress)
        further = self.beside_validation(valid_data)
        seconds = perf_counter() - started
        self.seconds_eval += seconds
        self._latest_valid = result
        self.record("valid", epoch=self._epoch, score=score, result=result, seconds=round(seconds, 4), **further)
        return score, result

    def beside_validation(self, valid_data: Any) -> dict[str, Any]:
        """Returns what a record keeps beside the result of the validation set just evaluated."""
        found = self.environments(valid_data)
        return found | {name: self.evaluate(loader, False) for name, loader in self.further_valid.items()}

    def environments(self, valid_data: Any) -> dict[str, Any]:
        """Returns the results by environment if the validation interactions, just evaluated, say theirs."""
        if not valid_data:
            return {}
        lists = self.eval_collector.lists
        grouping = environments(valid_data._dataset, lists) if lists is not None else None
        if grouping is None:
            return {}
        return {"environments": self.groups(grouping)["groups"]}

    def _check_nan(self, loss: torch.Tensor) -> None:
        """RecBole calls this at every step, before the step changes the model; a GPU's losses are seen a step later."""
        if self.ending and self.ending.overdue:
            self.ending.leave()
        self._fail_at(self._watch.fault(loss))

    def _fail_at(self, fault: str | None) -> None:
        if fault:
            parts = self._watch.parts(getattr(self.model, "loss_names", ()))
            self._fail(f"the training loss is {fault}", culprits(parts), losses=parts)

    def _named(self, loss: float | tuple[float, ...]) -> dict[str, float]:
        if not isinstance(loss, tuple):
            return {}
        names = getattr(self.model, "loss_names", ())
        if len(names) != len(loss):
            names = [f"train_loss{index}" for index in range(1, len(loss) + 1)]
        return dict(zip(names, map(float, loss), strict=True))

    def _generate_train_loss_output(
        self, epoch_idx: int, s_time: float, e_time: float, losses: float | tuple[float, ...]
    ) -> str:
        line = super()._generate_train_loss_output(epoch_idx, s_time, e_time, losses)
        for index, name in enumerate(self._named(losses), start=1):
            line = line.replace(set_color(f"train_loss{index}", "blue"), set_color(name, "blue"))
        return line

    # evaluation

    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | Path | None = None,
        show_progress: bool = False,
    ) -> dict[str, float] | None:
        """Evaluates as RecBole does, from our files, and returns plain floats.

        Raises:
            UserError: ``model_file`` is missing or not one of ours.
        """
        if load_best_model and eval_data:
            self.ranks.wait()  # the first process has written the file by then
            file = model_file or self._best_file()
            load_model(self.model, checkpoint.load(file, mapped=True), self.device)
            self.logger.info(f"Loading model structure and parameters from {file}")
        self.eval_collector.ranks = self.ranks if self.ranks.splits(eval_data) else Ranks()
        mine = self.ranks.loader(eval_data)
        result = super().evaluate(mine, load_best_model=False, show_progress=show_progress)
        return result if result is None else type(result)((name, float(value)) for name, value in result.items())

    def per_user(self) -> PerUser:
        """Returns the value of every top-k metric for each user of the latest evaluation."""
        return per_user_values(self.evaluator, self.eval_collector)

    def groups(self, grouping: Grouping) -> dict[str, Any]:
        """Returns the results of one grouping of the latest evaluation, which must have top-k lists."""
        lists = self.eval_collector.lists
        assert lists is not None, "the latest evaluation had no top-k metric"
        return group_values(self.evaluator, lists, grouping, self.config["metric_decimal_place"])


def _unique(file: str, config: Any) -> str:
    """RecBole's file name has the resolution of a second; seed and process keep two runs apart."""
    stem, extension = os.path.splitext(file)
    return f"{stem}-{config['seed']}-{os.getpid()}{extension}"


class Trainer(RunMixin, recbole.trainer.Trainer):
    """RecBole's standard trainer with :class:`RunMixin`."""

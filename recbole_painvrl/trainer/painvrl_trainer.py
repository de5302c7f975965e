"""The stages of PaInvRL between RecBole's epochs: warm-up, rounds of identification and mask, final training."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from recbole.utils import set_color

from recbole_painvrl import checkpoint
from recbole_painvrl.allocator import return_freed_memory
from recbole_painvrl.checkpoint import random_states, set_random_states
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.general_recommender.painvrl import CHOSEN
from recbole_painvrl.report.records import PER_USER_RHO, RunFolder
from recbole_painvrl.report.selection import eligible_rhos, whole_sets
from recbole_painvrl.trainer.multimodal_trainer import MultimodalTrainer
from recbole_painvrl.trainer.rounds import Rounds
from recbole_painvrl.trainer.state import forget_optimizers
from recbole_painvrl.trainer.trade_off import choose_weight, per_user_at, trade_off


class PaInvRLTrainer(MultimodalTrainer):
    """Trains ERM for ``warmup_epochs``, then runs the rounds, then trains the converted recommender to its early stop.

    With ``refit_each_round`` the converted recommender is trained for ``warmup_epochs`` between one round and the next.
    Everything before the final training is preparation: it neither stops early nor counts as the best model.
    With ``variant_weight: validation`` the final model's rho is chosen on the validation set when training is over, and
    the warm-up's best validation score, :attr:`plain_score`, is what its price is measured by.
    """

    rounds_class: type[Rounds] = Rounds

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(config, model)
        self.warmup_epochs = int(config["warmup_epochs"])
        self.refits = bool(config["refit_each_round"])
        self.n_rounds = self._n_rounds(config)
        if self.final_epoch >= self.epochs:
            raise UserError(
                f"epochs must be more than the {self.final_epoch} that come before the final training "
                f"(warmup_epochs {self.warmup_epochs}, n_rounds {self.n_rounds}, refit_each_round {self.refits}), "
                f"but got {self.epochs}"
            )
        self._check_validations(int(config["eval_step"]))
        self.rounds = self.rounds_class(config, model)
        self.rounds.between_steps = self.leave_if_asked
        self.plain_score: float | None = None

    def fit(self, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> tuple[float, Any]:
        """Trains as every trainer here does, then settles rho where it is left to validation."""
        if self.config["variant_weight"] != CHOSEN:
            return super().fit(train_data, valid_data, *args, **kwargs)
        self.model.rho.fill_(1.0)  # a stored best model may hold the rho that was chosen for it
        score, result = super().fit(train_data, valid_data, *args, **kwargs)
        return self._choose_weight(valid_data) if valid_data and self.model.converts else (score, result)

    def _choose_weight(self, valid_data: Any) -> tuple[float, Any]:
        if self._keeps_last:
            forget_optimizers(self)  # the last model's file has what they knew
            self.evaluate(valid_data)  # loads the best model
        rho = choose_weight(
            self,
            valid_data,
            self.config["variant_weights"],
            self.config["valid_metric"].lower(),
            float(self.config["variant_tolerance"]),
            self.valid_metric_bigger,
            self.plain_score,
        )
        self.model.rho.fill_(rho)
        result = self.evaluate(valid_data, load_best_model=False)
        assert result is not None, "there is a validation set"
        self.best_valid_score, self.best_valid_result = float(result[self.config["valid_metric"].lower()]), result
        further = self.beside_validation(valid_data)
        chosen = {"variant_weight": rho, "plain_score": self.plain_score, "score": self.best_valid_score}
        self.record("chosen", **chosen, result=result, **further)
        self.logger.info(set_color("variant_weight", "green") + f" chosen on validation: {rho}")
        if self._keeps_last:
            self._store_choice()
        return self.best_valid_score, result

    def _store_choice(self) -> None:
        """Puts the chosen rho into the best model's file, which stays the state of its epoch."""
        state = checkpoint.load(self._best_file())
        state["state_dict"]["rho"] = self.model.rho.cpu().clone()
        state |= {"best_valid_score": self.best_valid_score, "best_valid_result": self.best_valid_result}
        if self.ranks.main:
            checkpoint.save(self.saved_model_file, state)

    def further_results(self, loaders: dict[str, Any]) -> dict[str, Any]:
        """Returns the final rho, the warm-up's score, and every set's result at each of ``variant_weights``.

        What each test user gets at a rho that a report may choose goes into a file of the run.
        """
        if not self.model.converts:
            return {}
        rows = trade_off(self, loaders, self.config["variant_weights"])
        own = round(float(self.model.rho), 6)
        tests = {name: loaders[name] for name in whole_sets(loaders)}
        others = eligible_rhos(rows, self.config["valid_metric"].lower(), self.valid_metric_bigger) - {own}
        if self.run and others:
            self.run.write_arrays(PER_USER_RHO, per_user_at(self, tests, sorted(others)))
        return {"variant_weight": own, "plain_valid_score": self.plain_score, "trade_off": rows}

    def _check_validations(self, eval_step: int) -> None:
        """Makes sure that the final training is validated, without which the warm-up's best model would stand for it.

        Raises:
            UserError: No validation falls into the final training.
        """
        if eval_step > 0 and self.n_rounds and self.epochs // eval_step <= self.final_epoch // eval_step:
            raise UserError(
                f"eval_step {eval_step}: no validation falls between epoch {self.final_epoch}, after which the final "
                f"training begins, and epoch {self.epochs}, with which it ends; lower eval_step or raise epochs"
            )

    def _n_rounds(self, config: Any) -> int:
        """Given environments on an unchanged recommender make every round the same: one of them is enough."""
        rounds = int(config["n_rounds"])
        return min(rounds, 1) if config["env_field"] and not self.refits else rounds

    @property
    def final_epoch(self) -> int:
        """The first epoch of the final training; 0 without any round, which is ERM from the start."""
        if not self.n_rounds:
            return 0
        return self.warmup_epochs * (self.n_rounds if self.refits else 1)

    def rounds_before(self, epoch_idx: int) -> range:
        """Returns the numbers of the rounds that run before epoch ``epoch_idx``."""
        if not self.n_rounds:
            return range(0)
        if not (self.refits and self.warmup_epochs):
            return range(self.n_rounds if epoch_idx == self.final_epoch else 0)
        number, rest = divmod(epoch_idx, self.warmup_epochs)
        due = rest == 0 and 1 <= number <= self.n_rounds
        return range(number - 1, number) if due else range(0)

    def check_data(self, train_data: Any) -> None:
        """Looks for the columns that the rounds need."""
        if self.n_rounds:
            self.rounds.check_data(train_data.dataset)

    def is_costly(self, epoch_idx: int) -> bool:
        """Returns whether rounds are due before an epoch."""
        return bool(self.rounds_before(epoch_idx))

    def is_preparation(self, epoch_idx: int) -> bool:
        """Returns whether an epoch comes before the final training."""
        return epoch_idx < self.final_epoch

    def before_epoch(self, epoch_idx: int, train_data: Any) -> None:
        """Runs the rounds that are due and starts the converted recommender anew."""
        super().before_epoch(epoch_idx, train_data)
        self._note_plain_score()
        due = self.rounds_before(epoch_idx)
        if due:
            forget_optimizers(self)  # it starts anew after the rounds
            self._run_rounds(due, train_data.dataset)
            self.model.begin_final()
            self.optimizer = self._build_optimizer()
        if epoch_idx <= self.final_epoch and self.n_rounds:
            self._forget_best()

    def _run_rounds(self, numbers: range, dataset: Any) -> None:
        """Runs rounds in the first process, and lets the others take over what they have made of the model."""
        if self.ranks.main:
            self.model.content.hold_words()  # which have learned all that they will
            with self.ranks.whole_machine():
                for number in numbers:
                    self._run_round(number, dataset)
        if self.ranks.size > 1:
            model = {name: value.cpu() for name, value in self.model.state_dict().items()}
            state = {"model": model, "trainer": self.trainer_state(), "random": random_states()}
            state = self.ranks.from_main(state)
            self.model.load_state_dict(state["model"])
            self.load_trainer_state(state["trainer"])
            set_random_states(state["random"])

    def _note_plain_score(self) -> None:
        """Keeps the best validation score of the recommender before any round."""
        if self.n_rounds and self.best_valid_result is not None and not self.model.final:
            scores = [float(self.best_valid_score), *(() if self.plain_score is None else (self.plain_score,))]
            self.plain_score = max(scores) if self.valid_metric_bigger else min(scores)

    def trainer_state(self) -> dict[str, Any]:
        """Returns what every trainer keeps, and the warm-up's score."""
        return {**super().trainer_state(), "plain_score": self.plain_score}

    def load_trainer_state(self, state: dict[str, Any]) -> None:
        """Takes up the state of :meth:`trainer_state`."""
        super().load_trainer_state(state)
        self.plain_score = state["plain_score"]

    def _forget_best(self) -> None:
        self.cur_step = 0
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result = None

    def _run_round(self, number: int, dataset: Any) -> None:
        return_freed_memory()
        seen = self.rounds.identify(number, dataset, self.config["show_progress"])
        self.record("identification", round=number, **seen)
        sizes = " ".join(map(str, seen["sizes"]))
        self.logger.info(
            set_color(f"round {number} identification", "green")
            + f" [environments: {sizes}, moved: {seen['moved']:.4f}]"
        )
        return_freed_memory()
        made = self.rounds.generate_mask(number, dataset, self.config["show_progress"])
        return_freed_memory()
        self.record("mask", round=number, **made)
        self.logger.info(
            set_color(f"round {number} mask", "green")
            + f" [erm: {made['erm']:.4f}, irm: {made['irm']:.3e}, weight: {made['weight']:.3f}, "
            + f"stationarity: {made['stationarity']:.4f}, mean: {made['mean']:.4f}]"
        )
        self._draw(number, seen, made)

    def _draw(self, number: int, seen: dict[str, Any], made: dict[str, Any]) -> None:
        for name in ("erm", "irm"):
            self.tensorboard.add_scalar(f"risk/{name}", made[name], number)
        self.tensorboard.add_scalar("pareto/weight", made["weight"], number)
        self.tensorboard.add_scalar("environment/moved", seen["moved"], number)
        for label, size in enumerate(seen["sizes"]):
            self.tensorboard.add_scalar(f"environment/size_{label}", size, number)
        for block in self.model.content.blocks:
            values = self.model.mask[block.start : block.stop]
            self.tensorboard.add_histogram(f"mask/{block.name}", values, number)

    def write_artifacts(self, run: RunFolder) -> None:
        """Writes ``mask.csv`` and ``environments.npz``: the mask of each dimension, the label of each interaction."""
        mask = self.model.mask.tolist()
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["modality", "dimension", "mask"])
        rows.writerows(
            [name, column, value]
            for (name, column), value in zip(self.model.content.dimension_names(), mask, strict=True)
        )
        run.write_text("mask.csv", text.getvalue())
        dataset = self._loaders["train"].dataset
        columns = {
            name: dataset.field2id_token[field].astype(str)[dataset.inter_feat[field].numpy()]
            for name, field in (("user", dataset.uid_field), ("item", dataset.iid_field))
        }
        run.write_arrays("environments.npz", {**columns, "label": self.model.environment.cpu().numpy()})

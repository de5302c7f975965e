"""InvRL's stages: PaInvRL's, with fixed weights that grow from round to round, and with the published code's ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recbole_painvrl.invariance import Environments, MaskResult
from recbole_painvrl.invariance.squared_variance import squared_variance_mask
from recbole_painvrl.model.general_recommender.invrl import FIXED, Settled
from recbole_painvrl.randomness import generator
from recbole_painvrl.trainer.environment_models import EnvironmentModels, FromScratch
from recbole_painvrl.trainer.painvrl_trainer import PaInvRLTrainer
from recbole_painvrl.trainer.rounds import Rounds, interactions, progress


class InvRLRounds(Rounds):
    """Rounds whose weights are ``weight_growth`` times those of the round before; under ``faithful`` as published.

    Args:
        config: as for :class:`Rounds`; also reads ``weight_growth faithful faithful_irm_weight faithful_gate_weight
            env_epochs``.
        model: a :class:`recbole_painvrl.model.general_recommender.invrl.InvRL`.
    """

    def __init__(self, config: Any, model: Any) -> None:
        super().__init__(Settled(config, FIXED), model)
        self.faithful = bool(config["faithful"])
        self.first_weight = self.mask_settings.pareto.irm_weight

    def growth(self, number: int) -> float:
        """Returns how much larger the weights of round ``number`` are than those of the first."""
        return float(self.config["weight_growth"]) ** number

    def generate_mask(self, number: int, dataset: Any, show_progress: bool) -> dict[str, Any]:
        """Learns the mask under the round's weights; returns what a record keeps of it."""
        pareto = replace(self.mask_settings.pareto, irm_weight=self.first_weight * self.growth(number))
        self.mask_settings = replace(self.mask_settings, pareto=pareto)
        return super().generate_mask(number, dataset, show_progress)

    def _search_mask(self, number: int, dataset: Any, step: Callable[[dict], object]) -> MaskResult:
        if not self.faithful:
            return super()._search_mask(number, dataset, step)
        weights = (self.config["faithful_irm_weight"], self.config["faithful_gate_weight"])
        return squared_variance_mask(
            self.model.frozen(),
            interactions(dataset, self.model.device),
            self.model.environment,
            self.loss(dataset),
            generator(self.seed, f"mask {number}"),
            self.mask_settings,
            (float(weights[0]) * self.growth(number), float(weights[1]) * self.growth(number)),
            step,
        )

    def _search_environments(self, number: int, dataset: Any, show_progress: bool) -> Environments:
        if not self.faithful:
            return super()._search_environments(number, dataset, show_progress)
        settings, pairs = self._from_scratch(), interactions(dataset, self.model.device)
        with progress(f"Identify {number:>2}", settings.max_iter, show_progress, self.between_steps) as step:
            return EnvironmentModels(self.model, pairs, self._groups(dataset), settings, number).run(step)

    def _from_scratch(self) -> FromScratch:
        keys = self.config
        return FromScratch(
            n_environments=self.environment_settings.n_environments,
            epochs=int(keys["env_epochs"]),
            max_iter=self.environment_settings.max_iter,
            tolerance=self.environment_settings.tolerance,
            learning_rate=float(keys["learning_rate"]),
            batch_size=int(keys["train_batch_size"]),
            n_negatives=self.model.loader_negatives(keys),
            seed=self.seed,
        )


class InvRLTrainer(PaInvRLTrainer):
    """Trains UltraGCN for ``warmup_epochs``, then runs the rounds, then trains a new one on the mask they end with."""

    rounds_class = InvRLRounds

"""Environments by whole recommenders, one each, trained from scratch: what InvRL's published code does.

Each model can memorize its own members, so that interactions tend to stay where chance put them; identification with
frozen users and ids (:mod:`recbole_painvrl.invariance.environments`) is the remedy, and this the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_painvrl.data.sampling import uniform_negatives
from recbole_painvrl.invariance import Environments, Interactions
from recbole_painvrl.randomness import generator
from recbole_painvrl.trainer.row_adam import RowAdam

MASK_PULL = 0.01  # weight of the mean of |W * m|
BLOCK = 65_536  # interactions scored at a time


@dataclass(frozen=True)
class FromScratch:
    """How the models of environments are trained and used.

    Attributes:
        n_environments: E.
        epochs: Epochs of each model.
        max_iter: Most rounds of training and assigning.
        tolerance: Share of interactions changing environment at which the search ends.
        learning_rate: Adam's.
        batch_size: Interactions a step.
        n_negatives: Uniform negatives an interaction.
        seed: Where every random number comes from.
    """

    n_environments: int
    epochs: int
    max_iter: int
    tolerance: float
    learning_rate: float
    batch_size: int
    n_negatives: int
    seed: int


class EnvironmentModels:
    """Trains one recommender an environment and sends every unit where its raw scores are largest, until few move.

    Args:
        model: An InvRL before its final stage; it lends its parameters and gets them back.
        pairs: Training interactions, [n].
        groups: [n] assignment unit of each interaction; None takes each by itself.
        settings: How to train.
        number: Number of the round, which has random numbers of its own.
    """

    def __init__(
        self, model: Any, pairs: Interactions, groups: Tensor | None, settings: FromScratch, number: int
    ) -> None:
        self.model, self.pairs, self.settings, self.number = model, pairs, settings, number
        alone = torch.arange(len(pairs), device=pairs.users.device)
        self.units = alone if groups is None else torch.unique(groups, return_inverse=True)[1]
        self.n_units = int(self.units.max()) + 1
        self.source = generator(settings.seed, f"environment models {number}")
        drawn = torch.randint(settings.n_environments, (self.n_units,), generator=self.source)
        self.labels = drawn.to(self.units.device)
        self.mask = model.mask.clone() if number else torch.zeros_like(model.mask)
        self.words = [table.weight.detach().clone() for table in model.content.tables.values()]
        weight = model.projection.weight.detach()
        self.projections = weight.expand(settings.n_environments, *weight.shape).clone()

    def run(self, callback: Callable[[dict[str, Any]], object]) -> Environments:
        """Returns the environments; ``callback`` is called with each row of their history."""
        history: list[dict[str, Any]] = []
        with borrowed(self.model):
            while len(history) < self.settings.max_iter:
                history.append({"iteration": len(history) + 1, **self._reassign()})
                callback(history[-1])
                if history[-1]["moved"] <= self.settings.tolerance:
                    break
        return Environments(self.labels[self.units], self.projections, history)

    def _reassign(self) -> dict[str, Any]:
        """Trains all models on their members and assigns anew; returns the history's row without its number."""
        scores, empty = [], 0
        for environment in range(self.settings.n_environments):
            members = (self.labels[self.units] == environment).nonzero().flatten()
            if not len(members):
                members, empty = self._random_part(), empty + 1
            self._fit(members)
            self.projections[environment] = self.model.projection.weight.detach()
            scores.append(self._scores())
        by_unit = torch.stack(scores).new_zeros(len(scores), self.n_units)
        best, labels = by_unit.index_add_(1, self.units, torch.stack(scores)).max(dim=0)
        moved = float((labels != self.labels)[self.units].double().mean())
        self.labels = labels
        sizes = torch.bincount(labels[self.units], minlength=self.settings.n_environments).tolist()
        return {"moved": moved, "objective": float(best.sum()) / len(self.pairs), "sizes": sizes, "reseeded": empty}

    def _random_part(self) -> Tensor:
        """Rows of an E-th of all interactions, for an environment without members."""
        n_rows = max(1, len(self.pairs) // self.settings.n_environments)
        return torch.randperm(len(self.pairs), generator=self.source)[:n_rows].to(self.units.device)

    def _fit(self, members: Tensor) -> None:
        """Trains the model from scratch on the rows ``members``."""
        model, settings = self.model, self.settings
        source = generator(settings.seed, f"environment model {self.number}")  # the same stream for all of them
        model.reset_parameters()
        with torch.no_grad():
            for table, weight in zip(model.content.tables.values(), self.words, strict=True):
                table.weight.copy_(weight)
        model.train()
        optimizer = RowAdam(model.parameter_groups(), lr=settings.learning_rate)
        for _ in range(settings.epochs):
            order = torch.randperm(len(members), generator=source).to(members.device)
            for rows in members[order].split(settings.batch_size):
                optimizer.zero_grad()
                pull = (model.projection.weight * self.mask).abs().mean()
                (model.calculate_loss(self._batch(rows, source)) + MASK_PULL * pull).backward()
                optimizer.step()
        optimizer.zero_grad()

    def _batch(self, rows: Tensor, source: torch.Generator | None = None) -> Interaction:
        columns = {self.model.USER_ID: self.pairs.users[rows], self.model.ITEM_ID: self.pairs.items[rows]}
        if source is not None and self.settings.n_negatives:
            drawn = uniform_negatives(len(rows), self.settings.n_negatives, self.model.n_items, source)
            columns["negatives"] = drawn.to(rows.device)
        return Interaction(columns)

    @torch.no_grad()
    def _scores(self) -> Tensor:
        """The model's score of every training interaction, [n]."""
        self.model.eval()
        rows = torch.arange(len(self.pairs), device=self.units.device)
        return torch.cat([self.model.predict(self._batch(block)) for block in rows.split(BLOCK)])


@contextmanager
def borrowed(model: Any) -> Iterator[None]:
    """Lets the model be trained as another one, with an open mask and its word vectors, and puts it back as it was."""
    words = list(model.content.tables.parameters())
    learned = [table.requires_grad for table in words]
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    training = model.training
    model.mask.fill_(1.0)
    for table in words:
        table.requires_grad_(False)
    try:
        yield
    finally:
        model.load_state_dict(kept)
        for table, learns in zip(words, learned, strict=True):
            table.requires_grad_(learns)
        model.train(training)

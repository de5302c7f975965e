"""One round of the method on a PaInvRL model: heterogeneous identification, then invariant mask generation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from logging import getLogger
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_painvrl.allocator import return_freed_memory
from recbole_painvrl.errors import UserError, one_of
from recbole_painvrl.invariance import (
    BPRLoss,
    Environments,
    FrozenRecommender,
    Interactions,
    MaskResult,
    PairLoss,
    SoftmaxLoss,
    UltraGCNLoss,
    correlated_groups,
    generate_mask,
    identify_environments,
    learn_basis,
    modality_groups,
    permuted_control,
)
from recbole_painvrl.invariance.control import Z_SCORE
from recbole_painvrl.model.content import along
from recbole_painvrl.randomness import generator
from recbole_painvrl.trainer.controls import permuted_labels, permuted_mask
from recbole_painvrl.trainer.stage_settings import CHOICES, environment_settings, mask_settings
from recbole_painvrl.trainer.units import assignment_units, column, known_environments

# The tables of a mask step differ a little in size from step to step: the holes between them would add up.
TIDY = 10


class Rounds:
    """Runs the two modules on a model and leaves their results in its buffers ``environment`` and ``mask``.

    Args:
        config: reads ``env_*``, ``n_environments``, ``mask_*``, ``pareto_*``, ``irm_*``, ``control`` and what the loss
            needs.
        model: a :class:`recbole_painvrl.model.general_recommender.painvrl.PaInvRL`.

    Attributes:
        between_steps: called after each step of the search for environments and for the mask; it may raise.

    Raises:
        UserError: if a key holds a value that its stage does not know.
    """

    def __init__(self, config: Any, model: Any) -> None:
        self.config, self.model = config, model
        self.seed = int(config["seed"])
        self.between_steps: Callable[[], None] = lambda: None
        for key, known in CHOICES.items():
            one_of(key, config[key], known)
        if config["control"] == "mask" and config["mask_groups"] == "modality":
            raise UserError("control: mask permutes within each modality, where mask_groups: modality has one value")
        try:
            self.environment_settings = environment_settings(config)
            self.mask_settings = mask_settings(config)
        except ValueError as error:
            raise UserError(f"configuration of PaInvRL: {error}") from error

    def check_data(self, dataset: Any) -> None:
        """Makes sure that the training interactions have what the rounds need, before anything is trained.

        Raises:
            UserError: if the column of given labels or of sessions is missing, or there are too few of them.
        """
        field, needed = self.config["env_field"], self.config["n_environments"]
        if field:
            present = given_labels(field, dataset).unique().numel()
            if present < 2:
                raise UserError(f"env_field {field}: {present} value in the training interactions, expected 2 or more")
            return
        groups = self._groups(dataset)
        n_units = len(dataset.inter_feat) if groups is None else groups.unique().numel()
        if n_units < needed:
            what = f"{needed} environments need as many units of env_level {self.config['env_level']}"
            raise UserError(f"n_environments: {what}, but the training interactions have {n_units}")

    def loss(self, dataset: Any) -> PairLoss:
        """Returns the recommender's own loss in the form that the mask's gradients need."""
        kind = self.config["rec_loss"]
        if kind == "softmax":
            return SoftmaxLoss()
        if kind == "bpr":
            return BPRLoss()
        pairs = interactions(dataset, self.model.device)
        return UltraGCNLoss.from_interactions(
            pairs.users,
            pairs.items,
            self.model.n_users,
            self.model.n_items,
            tuple(self.config["loss_weights"]),
            float(self.config["negative_weight"]),
        )

    def identify(self, number: int, dataset: Any, show_progress: bool) -> dict[str, Any]:
        """Labels every training interaction with an environment; returns what a record keeps of it.

        The first round looks at all features, later ones at the variant ones, ``(1 - m) * x``.

        Raises:
            UserError: if the column of given labels or of sessions is missing, or there are too few units.
        """
        before = self.model.environment.clone()
        found = None
        if self.config["env_field"]:
            labels = given_labels(self.config["env_field"], dataset).to(self.model.device)
        else:
            found = self._search_environments(number, dataset, show_progress)
            labels = found.labels
        if self.config["control"] == "labels":
            units = self._groups(dataset) if found else None
            labels = permuted_labels(labels, units, generator(self.seed, f"permuted labels {number}"))
        self.model.environment.copy_(labels)
        sizes = torch.bincount(labels.cpu()).tolist()
        moved = float((before != self.model.environment).double().mean()) if number else 1.0
        seen = {"sizes": sizes, "moved": moved, "history": found.history if found else []}
        return_freed_memory()
        seen |= self._signal(number, dataset, labels, found)
        return seen | known_environments(dataset, labels.cpu())

    def _search_environments(self, number: int, dataset: Any, show_progress: bool) -> Environments:
        try:
            steps = self.environment_settings.max_iter
            with progress(f"Identify {number:>2}", steps, show_progress, self.between_steps) as step:
                return identify_environments(
                    self.model.frozen(),
                    interactions(dataset, self.model.device),
                    self.model.effective_projection(),
                    generator(self.seed, f"identification {number}"),
                    self._groups(dataset),
                    self.environment_settings,
                    step,
                    variant=1 - self.model.mask if number else None,
                )
        except ValueError as error:
            raise UserError(f"identification (env_level {self.config['env_level']}): {error}") from error

    def _signal(self, number: int, dataset: Any, labels: Tensor, found: Environments | None) -> dict[str, Any]:
        """Returns what tells environments from chance, and warns where nothing does.

        ``clustering`` has no other test, and labels that were fitted to the choices nearly always differ from permuted
        ones: if they do, ``signal`` is None there.
        """
        control = permuted_control(
            self.model.frozen(),
            interactions(dataset, self.model.device),
            self.model.effective_projection(),
            labels,
            generator(self.seed, f"identification control {number}"),
            None if found is None else self._groups(dataset),
        )
        seen: dict[str, Any] = {
            "permuted": control.record(),
            "heterogeneity": None,
            "signal": control.z_score > Z_SCORE,
        }
        if found is not None and found.heterogeneity is not None:
            excess = found.heterogeneity
            seen["heterogeneity"] = {"excess": float(excess.excess[0]), "chance": excess.chance}
            seen["signal"] = seen["signal"] and excess.signal > 1
        elif found is not None and found.history:
            seen["signal"] = None if seen["signal"] else False
        seen["collapsed"] = found is not None and found.collapsed
        _warn(number, seen)
        return seen

    def _groups(self, dataset: Any) -> Tensor | None:
        units = assignment_units(self.config["env_level"], dataset, float(self.config["env_gap"]))
        return None if units is None else units.to(self.model.device)

    def generate_mask(self, number: int, dataset: Any, show_progress: bool) -> dict[str, Any]:
        """Learns the mask on the present environments; returns what a record keeps of it.

        Raises:
            UserError: if fewer than two environments have an interaction.
        """
        try:
            steps = self.mask_settings.steps
            with progress(f"Mask {number:>6}", steps, show_progress, self.between_steps) as step:
                found = self._search_mask(number, dataset, step)
        except ValueError as error:
            raise UserError(f"mask generation: {error}") from error
        self.model.mask.copy_(self._final(found.mask))
        last = {key: value for key, value in found.history[-1].items() if key != "step"}
        parts = {block.name: self.model.mask[block.start : block.stop] for block in self.model.content.blocks}
        return {
            **last,
            "mean": float(self.model.mask.mean()),
            "modalities": {name: float(part.mean()) for name, part in parts.items()},
            "values": {name: [round(value, 6) for value in part.tolist()] for name, part in parts.items()},
            "history": found.history,
        }

    def _search_mask(self, number: int, dataset: Any, step: Callable[[dict[str, float]], object]) -> MaskResult:
        frozen = self._turned(number, dataset) if self.model.content.turnable else self.model.frozen()
        pairs, source = interactions(dataset, self.model.device), generator(self.seed, f"mask {number}")
        loss, settings, groups = self.loss(dataset), self.mask_settings, self._gate_groups()
        tidy = _tidying(step)
        return generate_mask(frozen, pairs, self.model.environment, loss, source, settings, tidy, groups=groups)

    def _gate_groups(self) -> Tensor | None:
        """Returns the group of each column that ``mask_groups`` makes of the items' own features; None: no groups."""
        groups = self.config["mask_groups"]
        if groups == "feature":
            return None
        blocks = self.model.content.ranges()
        if groups == "modality":
            return modality_groups(blocks)
        return correlated_groups(self.model.features().detach(), blocks, int(groups))

    def _turned(self, number: int, dataset: Any) -> FrozenRecommender:
        """Turns the model to axes along which environments differ or agree; returns its frozen tables along them."""
        frozen = self.model.frozen()
        bases = learn_basis(
            frozen,
            interactions(dataset, self.model.device),
            self.model.environment,
            self.model.effective_projection(),
            self.loss(dataset),
            self.model.content.ranges(),
            generator(self.seed, f"axes {number}"),
        )
        self.model.turn(bases)
        return replace(frozen, features=along(bases, frozen.features))

    def _final(self, mask: Tensor) -> Tensor:
        threshold = self.config["mask_threshold"]
        mask = mask if threshold is None else (mask >= threshold).to(mask.dtype)
        if self.config["control"] != "mask":
            return mask
        return permuted_mask(mask, self.model.content.ranges(), generator(self.seed, "permuted mask"))


def _tidying(step: Callable[[dict[str, float]], object]) -> Callable[[dict[str, float]], object]:
    """Returns the callback with freed memory handed back after the first step and every :data:`TIDY` steps."""

    def tidy(row: dict[str, float]) -> None:
        step(row)
        if row["step"] % TIDY == 1:
            return_freed_memory()

    return tidy


def _warn(number: int, seen: Mapping[str, Any]) -> None:
    """Says so if everything ended in one environment, or if the environments are no better than chance."""
    if seen["collapsed"]:
        getLogger().warning(f"round {number} identification collapsed: all but one environment had to be seeded anew")
    if seen["signal"] is False:
        getLogger().warning(
            f"round {number} identification: the environments carry no more signal than chance (permuted labels, "
            "made-up choices), so that the mask is no evidence of anything"
        )


def interactions(dataset: Any, device: torch.device) -> Interactions:
    """Returns the training interactions of a built data set."""
    feat = dataset.inter_feat
    return Interactions(feat[dataset.uid_field].to(device), feat[dataset.iid_field].to(device))


def given_labels(field: str, dataset: Any) -> Tensor:
    """Returns the environments that a column of the interactions names, counted from 0, long [n]."""
    return torch.unique(column(field, dataset, f"env_field {field}"), return_inverse=True)[1]


@contextmanager
def progress(title: str, total: int, show: bool, also: Callable[[], None]) -> Iterator[Callable[[dict], object]]:
    """Yields a callback for each step's row of numbers, which moves a progress bar by one and calls ``also``.

    There is no bar unless ``show``. The callback raises a UserError if what is minimized is no longer a number.
    """
    with tqdm(total=total, ncols=100, desc=title, disable=not show) as bar:

        def step(row: Mapping[str, Any]) -> None:
            check_finite(title, row)
            bar.update()
            also()

        yield step


def check_finite(title: str, row: Mapping[str, Any]) -> None:
    """Makes sure that the risks of a step's row are finite numbers; an angle may have no value.

    Raises:
        UserError: One is not; the message names round, step and risk.
    """
    values = {name: row[name] for name in ("objective", "erm", "irm") if row.get(name) is not None}
    wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        step = row.get("step", row.get("iteration"))
        raise UserError(
            f"{' '.join(title.split())}, step {step}: {', '.join(wrong)}: the warm-up's scores are too large for it; "
            "try a smaller learning_rate or a larger reg_weight, or look for extreme values in the features"
        )

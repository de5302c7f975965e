"""One round of the method on a PaInvRL model: heterogeneous identification, then invariant mask generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from recbole_painvrl.errors import UserError, one_of
from recbole_painvrl.invariance import (
    ASSIGNMENTS,
    NORMALIZERS,
    PENALTIES,
    SOLVERS,
    BPRLoss,
    EnvironmentSettings,
    Interactions,
    MaskSettings,
    PairLoss,
    ParetoSettings,
    SoftmaxLoss,
    UltraGCNLoss,
    generate_mask,
    identify_environments,
    variant_features,
)
from recbole_painvrl.randomness import generator

LEVELS = ("interaction", "user", "session")
CHOICES = {
    "env_level": LEVELS,
    "env_assign": ASSIGNMENTS,
    "irm_penalty": tuple(PENALTIES),
    "pareto_solver": SOLVERS,
    "pareto_normalize": NORMALIZERS,
}


class Rounds:
    """Runs the two modules on a model and leaves their results in its buffers ``environment`` and ``mask``.

    Args:
        config: reads ``env_*``, ``n_environments``, ``mask_*``, ``pareto_*``, ``irm_*`` and what the loss needs.
        model: a :class:`recbole_painvrl.model.general_recommender.painvrl.PaInvRL`.

    Raises:
        UserError: if a key holds a value that its stage does not know.
    """

    def __init__(self, config: Any, model: Any) -> None:
        self.config, self.model = config, model
        self.seed = int(config["seed"])
        for key, known in CHOICES.items():
            one_of(key, config[key], known)
        try:
            self.environment_settings = self._environment_settings()
            self.mask_settings = self._mask_settings()
        except ValueError as error:
            raise UserError(f"configuration of PaInvRL: {error}") from error

    def _environment_settings(self) -> EnvironmentSettings:
        keys = self.config
        return EnvironmentSettings(
            n_environments=int(keys["n_environments"]),
            assign=keys["env_assign"],
            max_iter=int(keys["env_max_iter"]),
            tolerance=float(keys["env_tolerance"]),
            min_share=keys["env_min_share"],
        )

    def _mask_settings(self) -> MaskSettings:
        keys = self.config
        pareto = ParetoSettings(
            solver=keys["pareto_solver"],
            normalize=keys["pareto_normalize"],
            bounds=tuple(keys["pareto_bounds"]),
            irm_weight=float(keys["irm_weight"]),
        )
        return MaskSettings(
            penalty=keys["irm_penalty"],
            pareto=pareto,
            learning_rate=float(keys["mask_lr"]),
            steps=int(keys["mask_steps"]),
            batch_size=int(keys["mask_batch_size"]) or None,
            n_candidates=int(keys["mask_candidates"]) or None,
            sigma=float(keys["mask_sigma"]),
        )

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
        if self.config["env_field"]:
            labels, history = given_labels(self.config["env_field"], dataset), []
        else:
            labels, history = self._search_environments(number, dataset, show_progress)
        self.model.environment.copy_(labels)
        sizes = torch.bincount(labels.cpu()).tolist()
        moved = float((before != self.model.environment).double().mean()) if number else 1.0
        return {"sizes": sizes, "moved": moved, "history": history}

    def _search_environments(self, number: int, dataset: Any, show_progress: bool) -> tuple[Tensor, list]:
        frozen = self.model.frozen()
        if number:
            frozen = replace(frozen, features=variant_features(frozen.features, self.model.mask))
        groups = self._groups(dataset)
        try:
            with progress(f"Identify {number:>2}", self.environment_settings.max_iter, show_progress) as step:
                found = identify_environments(
                    frozen,
                    interactions(dataset, self.model.device),
                    self.model.projection.weight.detach(),
                    generator(self.seed, f"identification {number}"),
                    groups,
                    self.environment_settings,
                    step,
                )
        except ValueError as error:
            raise UserError(f"identification (env_level {self.config['env_level']}): {error}") from error
        return found.labels, found.history

    def _groups(self, dataset: Any) -> Tensor | None:
        level = self.config["env_level"]
        if level == "interaction":
            return None
        field = dataset.uid_field if level == "user" else "session_id"
        return column(field, dataset, f"env_level {level}").to(self.model.device)

    def generate_mask(self, number: int, dataset: Any, show_progress: bool) -> dict[str, Any]:
        """Learns the mask on the present environments; returns what a record keeps of it.

        Raises:
            UserError: if fewer than two environments have an interaction.
        """
        try:
            with progress(f"Mask {number:>6}", self.mask_settings.steps, show_progress) as step:
                found = generate_mask(
                    self.model.frozen(),
                    interactions(dataset, self.model.device),
                    self.model.environment,
                    self.loss(dataset),
                    generator(self.seed, f"mask {number}"),
                    self.mask_settings,
                    step,
                )
        except ValueError as error:
            raise UserError(f"mask generation: {error}") from error
        self.model.mask.copy_(self._final(found.mask))
        last = {key: value for key, value in found.history[-1].items() if key != "step"}
        blocks = {
            block.name: float(self.model.mask[block.start : block.stop].mean()) for block in self.model.content.blocks
        }
        return {**last, "mean": float(self.model.mask.mean()), "modalities": blocks, "history": found.history}

    def _final(self, mask: Tensor) -> Tensor:
        threshold = self.config["mask_threshold"]
        return mask if threshold is None else (mask >= threshold).to(mask.dtype)


def interactions(dataset: Any, device: torch.device) -> Interactions:
    """Returns the training interactions of a built data set."""
    feat = dataset.inter_feat
    return Interactions(feat[dataset.uid_field].to(device), feat[dataset.iid_field].to(device))


def column(field: str, dataset: Any, reader: str) -> Tensor:
    """Returns a column of the training interactions, long [n].

    Raises:
        UserError: if there is no such column or it holds no tokens.
    """
    if field not in dataset.inter_feat:
        raise UserError(
            f"{reader} needs a column '{field}' in the interactions of {dataset.dataset_name}, but there are only "
            f"{', '.join(dataset.inter_feat.columns)}; add it to the .inter files and to load_col"
        )
    values = dataset.inter_feat[field]
    if values.is_floating_point() or values.dim() != 1:
        raise UserError(f"{reader} needs the column '{field}' to be of type token, as in the header '{field}:token'")
    return values


def given_labels(field: str, dataset: Any) -> Tensor:
    """Returns the environments that a column of the interactions names, counted from 0, long [n]."""
    return torch.unique(column(field, dataset, f"env_field {field}"), return_inverse=True)[1]


@contextmanager
def progress(title: str, total: int, show: bool) -> Iterator[Callable[[dict], object]]:
    """Yields a callback that moves a progress bar by one; there is no bar unless ``show``."""
    with tqdm(total=total, ncols=100, desc=title, disable=not show) as bar:
        yield lambda _row: bar.update()

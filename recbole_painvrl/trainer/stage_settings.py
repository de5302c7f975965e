"""What a configuration says of the two modules: the values that name one of several ways, and both stages' settings."""

from __future__ import annotations

from typing import Any

from recbole_painvrl.invariance import (
    ASSIGNMENTS,
    ESTIMATES,
    METHODS,
    NORMALIZERS,
    PENALTIES,
    SOLVERS,
    EnvironmentSettings,
    MaskSettings,
    ParetoSettings,
)
from recbole_painvrl.trainer.controls import CONTROLS
from recbole_painvrl.trainer.units import LEVELS

CHOICES = {
    "env_level": LEVELS,
    "env_method": METHODS,
    "env_assign": ASSIGNMENTS,
    "irm_penalty": tuple(PENALTIES),
    "mask_estimate": ESTIMATES,
    "pareto_solver": SOLVERS,
    "pareto_normalize": NORMALIZERS,
    "control": CONTROLS,
}


def environment_settings(keys: Any) -> EnvironmentSettings:
    """Returns how environments are looked for, from the keys ``env_*`` and ``n_environments``."""
    return EnvironmentSettings(
        n_environments=int(keys["n_environments"]),
        method=keys["env_method"],
        assign=keys["env_assign"],
        max_iter=int(keys["env_max_iter"]),
        tolerance=float(keys["env_tolerance"]),
        min_share=keys["env_min_share"],
    )


def mask_settings(keys: Any) -> MaskSettings:
    """Returns how a mask is looked for, from the keys ``mask_*``, ``pareto_*`` and ``irm_*``."""
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
        estimate=keys["mask_estimate"],
        smoothing=float(keys["mask_smoothing"]),
    )

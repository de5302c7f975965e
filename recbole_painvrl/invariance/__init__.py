"""Invariant representations by Pareto weights, on plain tensors: environments, penalties, Pareto steps and masks.

Needs torch alone. One round, from a trained recommender (frozen tables and the projection of its features)::

    frozen = FrozenRecommender(user_id, user_feature, item_id, features)
    found = identify_environments(frozen, interactions, projection, generator, groups=sessions)
    result = generate_mask(frozen, interactions, found.labels, SoftmaxLoss(), generator)
    rest = replace(frozen, features=variant_features(frozen.features, result.mask))  # for the next round

Row 0 of users and of items is padding, as in RecBole. Every random number comes from the generator that is handed in,
which may live on another device than the tables; on the CPU equal generators give equal answers. On a GPU sums over
assignment units are added in no fixed order, so a tie may fall differently.
"""

from .environments import ASSIGNMENTS, Environments, EnvironmentSettings, identify_environments
from .frozen import FrozenRecommender, score_unit, variant_features
from .losses import BPRLoss, EnvironmentBatch, PairLoss, PairTerms, SoftmaxLoss, UltraGCNLoss
from .mask import MaskResult, MaskSettings, generate_mask
from .pareto import NORMALIZERS, SOLVERS, ParetoSettings, ParetoStep, least_norm_weight, pareto_step
from .penalty import (
    PENALTIES,
    EnvironmentTerms,
    environment_terms,
    gradient_variance,
    irmv1,
    mean_risk_gradients,
    risk_variance,
)
from .sampling import EnvironmentSampler, Interactions, draw_candidates

__all__ = [
    "ASSIGNMENTS",
    "NORMALIZERS",
    "PENALTIES",
    "SOLVERS",
    "BPRLoss",
    "EnvironmentBatch",
    "EnvironmentSampler",
    "EnvironmentSettings",
    "EnvironmentTerms",
    "Environments",
    "FrozenRecommender",
    "Interactions",
    "MaskResult",
    "MaskSettings",
    "PairLoss",
    "PairTerms",
    "ParetoSettings",
    "ParetoStep",
    "SoftmaxLoss",
    "UltraGCNLoss",
    "draw_candidates",
    "environment_terms",
    "generate_mask",
    "gradient_variance",
    "identify_environments",
    "irmv1",
    "least_norm_weight",
    "mean_risk_gradients",
    "pareto_step",
    "risk_variance",
    "score_unit",
    "variant_features",
]

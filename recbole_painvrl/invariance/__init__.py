"""Invariant representations by Pareto weights, on plain tensors: environments, penalties, Pareto steps and masks.

Needs torch and scipy alone. One round, from a trained recommender (frozen tables and the projection of its features)::

    frozen = FrozenRecommender(user_id, user_feature, item_id, features)
    found = identify_environments(frozen, interactions, projection, generator, groups=sessions)
    result = generate_mask(frozen, interactions, found.labels, SoftmaxLoss(), generator)
    control = permuted_control(frozen, interactions, projection, found.labels, generator, groups=sessions)
    again = identify_environments(..., variant=1 - result.mask)  # the next round looks at what the mask leaves out

Row 0 of users and of items is padding, as in RecBole. Every random number comes from the generator that is handed in,
which may live on another device than the tables; on the CPU equal generators give equal answers. On a GPU sums over
assignment units are added in no fixed order, so a tie may fall differently.
"""

from .basis import BasisSettings, learn_basis
from .control import Control, permuted_control
from .environments import ASSIGNMENTS, METHODS, Environments, EnvironmentSettings, identify_environments
from .estimate import ESTIMATES
from .frozen import FrozenRecommender, score_unit
from .groups import correlated_groups, modality_groups
from .heterogeneity import Heterogeneity, find_heterogeneity
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
    "ESTIMATES",
    "METHODS",
    "NORMALIZERS",
    "PENALTIES",
    "SOLVERS",
    "BPRLoss",
    "BasisSettings",
    "Control",
    "EnvironmentBatch",
    "EnvironmentSampler",
    "EnvironmentSettings",
    "EnvironmentTerms",
    "Environments",
    "FrozenRecommender",
    "Heterogeneity",
    "Interactions",
    "MaskResult",
    "MaskSettings",
    "PairLoss",
    "PairTerms",
    "ParetoSettings",
    "ParetoStep",
    "SoftmaxLoss",
    "UltraGCNLoss",
    "correlated_groups",
    "draw_candidates",
    "environment_terms",
    "find_heterogeneity",
    "generate_mask",
    "gradient_variance",
    "identify_environments",
    "irmv1",
    "learn_basis",
    "least_norm_weight",
    "mean_risk_gradients",
    "modality_groups",
    "pareto_step",
    "permuted_control",
    "risk_variance",
    "score_unit",
]

"""InvRL: invariant representation learning, which PaInvRL extends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recbole_painvrl.model.general_recommender.painvrl import PaInvRL

# What makes PaInvRL's machinery InvRL, whatever the configuration says.
FIXED: dict[str, Any] = {
    "convert": "mask",
    "variant_weight": 1.0,
    "variant_training_weight": 1.0,
    "invariant_loss_weight": 1.0,
    "env_method": "clustering",
    "irm_penalty": "gv",
    "pareto_solver": "fixed",
    "pareto_normalize": "none",
    "pareto_bounds": (0.0, 0.0),
    "mask_axes": "features",
    "mask_groups": "feature",
}


class Settled:
    """A configuration in which some keys have fixed values.

    Args:
        config: answers for all other keys.
        fixed: the fixed values.
    """

    def __init__(self, config: Any, fixed: Mapping[str, Any]) -> None:
        self.config, self.fixed = config, fixed

    def __getitem__(self, key: str) -> Any:
        """Returns the fixed value, or else the configuration's."""
        return self.fixed[key] if key in self.fixed else self.config[key]


class InvRL(PaInvRL):
    """Item vectors from an id and the invariant part of the content, ``[V_i ; W (m * x_i) + b]`` with a learned mask.

    Stages (:class:`recbole_painvrl.trainer.invrl_trainer.InvRLTrainer`): UltraGCN with a mask of ones for
    ``warmup_epochs``; ``n_rounds`` times environments (each gets a projection of its own, each interaction goes where
    it fits best, later rounds see ``(1 - m) * x``) and mask; then a new UltraGCN on the mask of the last round, which
    stays as it is, soft. The mask ``m = clip(mu + 1/2, 0, 1)``, with noise of ``mask_sigma`` while it learns, descends
    ``mean_e L_e + irm_weight * penalty`` by Adam, and ``irm_weight`` grows by ``weight_growth`` a round. The penalty is
    the variance over environments of the loss's gradient by the masked projection.

    Source: Du, Wu, Feng, He and Tang, "Invariant Representation Learning for Multimedia Recommendation", ACM MM 2022:
    the environments of its heterogeneity identification, the gated mask and objective of its invariant mask generation,
    its score and its UltraGCN loss. What its published code does is known from reading it; none of it is copied.

    ``faithful: True`` turns on what that code does otherwise and what changes results:

    - an environment is a whole model (ids and projection; word vectors stay as the warm-up left them) trained from
      scratch on its members for ``env_epochs``, all from the same initial values and with the same stream of negatives;
      it sees all of the content, and the mask of the round before only through ``0.01 mean|W * m|``;
    - an interaction goes to the largest raw score of its own item, from uniformly random environments on, and nothing
      keeps environments from shrinking;
    - the mask descends the mean over environments of losses *summed* over the batch, plus ``faithful_irm_weight`` times
      ``sum_jk [(mu_k + 1/2) sum_e (G_e,jk - mean_e G_e,jk)^2]^2``, the square of a variance of the gradients by the
      projection itself, with ``mu + 1/2`` unclipped, plus ``faithful_gate_weight |mu|^2``, which pulls the gate to 1/2;
      the projection, drawn anew, follows the penalty too and has 0.01 times its squared length beside the losses; each
      environment has its own noise.

    Deviations:

    - the first stage has a fixed number of epochs and no early stop; losses of the recommender itself are means;
    - one Adam for all parameters, where the code has Adagrad for the tables of environment models;
    - defaults of the recommender are UltraGCN's here, so that both differ by the mask alone; the code has 50 negatives,
      ``negative_weight`` 1, ``loss_weights`` of 1, ``mask_lr`` 0.001 and ``mask_batch_size`` 512 for TikTok;
    - ``rec_loss``, ``backbone`` and ``env_level`` may be others than the paper's;
    - with given environments (``env_field``) one round is run, as all would be the same but for the weights' growth.

    Deviations without the switch: the penalty is a plain variance of gradients of *mean* losses, from equally many rows
    of each environment and without the bias of minibatches; the projection does not follow it and has a weight decay;
    nothing pulls the gate.

    Faults of the code that are not copied: the global generators are seeded anew inside constructors; training items
    are hidden by a score of 1e-5 and not left out; an environment without members scores 0 (here it starts again from
    a random part); losses of skipped environments count as 0 in the mean; NDCG divides by the ideal of the hits
    alone; the test set is looked at in every validation.
    """

    loss_names = ()

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(Settled(config, FIXED), dataset)

    def table_decay(self, table: Tensor) -> float:
        """Returns the weight decay that adds ``reg_weight |table|^2``, as UltraGCN's."""
        return 2 * self.reg_weight

"""PaInvRL: Pareto invariant representation learning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_painvrl.errors import UserError, one_of
from recbole_painvrl.invariance import FrozenRecommender
from recbole_painvrl.model.content import Taken, along
from recbole_painvrl.model.fusion_recommender import FusionRecommender
from recbole_painvrl.model.layers import BranchAttention
from recbole_painvrl.model.spared import added, scaled
from recbole_painvrl.model.touched import Gathered

CONVERSIONS = ("attention", "mask")
AXES = ("features", "learned")
WARM_UP, FINAL = 0, 1
CHOSEN = "validation"  # variant_weight: rho is chosen on validation once training is over


class PaInvRL(FusionRecommender):
    """Item vectors from an invariant and a variant representation of the content, split by a learned mask.

    Stages: in the warm-up the recommender is plain ERM (mask of ones). Then the trainer
    (:class:`recbole_painvrl.trainer.PaInvRLTrainer`) alternates heterogeneous identification and invariant mask
    generation and sets :attr:`mask`; from then on the convert module is at work:

    ``phi_i = m * x_i``, ``psi_i = (1 - m) * x_i``, ``h_I = W_I phi_i + b``, ``h_V = W_V psi_i``,
    ``item = [V_i ; 2 (a_I h_I + rho a_V h_V)]`` with attention weights ``a`` and ``rho = variant_weight`` at inference
    (1 within an environment, 0 across environments). Training minimizes ``w L(rho = 0) + (1 - w) L(rho = r)`` with
    ``w = invariant_loss_weight`` and ``r = variant_training_weight``; with ``r > 1``, ``rho = 1`` leans to the
    invariant side of what training found. ``convert: mask`` keeps ``phi`` alone, which is InvRL.

    Attributes:
        final: Whether the warm-up is over, on the host: asking the buffer ``stage`` would wait for a GPU at every step.

    Source: Huang et al., ACM MM 2023 (arXiv 2308.04706). The paper's equations could not be had: this is
    reimplemented from its abstract and from InvRL, which it extends.
    """

    loss_names: tuple[str, ...] = ("invariant", "full")

    def __init__(self, config: Any, dataset: Any) -> None:
        self.conversion = one_of("convert", config["convert"], CONVERSIONS)
        super().__init__(config, dataset)
        if not self.feature_size:
            raise UserError(
                f"{type(self).__name__} needs item features, but the data set {config['dataset']} has no modality; "
                "name some under the key 'modalities' (README, 'Your own features'), or run --model=ERM"
            )
        chosen = config["variant_weight"]
        self.register_buffer("rho", torch.tensor(1.0 if chosen == CHOSEN else float(chosen)))
        self.variant_training_weight = float(config["variant_training_weight"])
        self.invariant_loss_weight = float(config["invariant_loss_weight"])
        self.register_buffer("mask", torch.ones(self.content.dimension))
        self.register_buffer("environment", torch.full((len(dataset.inter_feat),), -1, dtype=torch.long))
        self.register_buffer("stage", torch.tensor(WARM_UP))
        self.final = False
        if self.conversion == "attention":
            self.variant_projection = nn.Linear(self.content.dimension, self.feature_size, bias=False)
            self.attention = BranchAttention(self.feature_size)
            self.reset_parameters()
        if one_of("mask_axes", config["mask_axes"], AXES) == "learned":
            self.content.make_turnable()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.final = bool(self.stage == FINAL)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Loads the state; word vectors learn in the warm-up alone."""
        loaded = super().load_state_dict(*args, **kwargs)
        self.content.hold_words(self.final)
        return loaded

    @property
    def converts(self) -> bool:
        """Whether the item vectors come from the two branches (the warm-up is over)."""
        return self.final and self.conversion == "attention"

    def features(self) -> Tensor:
        """Returns the features [I, D]; word tables are learned in the warm-up and frozen after it, as in InvRL."""
        x = self.content()
        return x.detach() if self.final else x

    def similarity_mask(self) -> Tensor:
        """Returns ``m + rho (1 - m)`` [D]: contents are compared by their invariant part and rho of the variant one."""
        if self.conversion == "mask":
            return self.mask
        return self.mask + self.rho * (1 - self.mask)

    def branches(self, touched: Gathered | None = None) -> tuple[Tensor, Tensor]:
        """Returns the invariant and the variant share of every item's content part, both [I, k], attention included.

        Of the touched items alone [M, k], if there are any, whose candidates stand for all items in the attention.
        """
        learns, taken = not self.final, self.taken(touched)
        invariant = self.content.project(self.projection.weight * self.mask, self.projection.bias, learns, taken)
        variant = self.content.project(self.variant_projection.weight * (1 - self.mask), None, learns, taken)
        share, rest = self.attention(invariant, variant, None if touched is None else touched.candidates)
        return scaled(invariant, 2 * share), scaled(variant, 2 * rest)

    def item_content(self, taken: Taken | None = None, rho: float | None = None) -> Tensor:
        """Returns the content part of every item's vector [I, k] at ``rho`` (the model's own if None).

        Before the branches there is no attention, and ``taken`` items can do without the others.
        """
        if not self.converts:
            weight = self.projection.weight * self.mask
            return self.content.project(weight, self.projection.bias, not self.final, taken)
        invariant, variant = self.branches()
        return added(invariant, scaled(variant, self.rho if rho is None else rho))

    def calculate_loss(self, interaction: Any) -> Tensor | tuple[Tensor, ...]:
        """Returns the mean ranking loss; after the warm-up its invariant and its full share, already weighted."""
        if not self.converts:
            return super().calculate_loss(interaction)
        dropped, touched = self.dropped_items(), self.touched(interaction)
        invariant, variant = self.branches(touched)
        full = invariant + self.variant_training_weight * variant
        w = self.invariant_loss_weight
        losses = []
        if w > 0:
            losses.append(w * self.ranking_loss(interaction, invariant, dropped, touched))
        if w < 1:
            losses.append((1 - w) * self.ranking_loss(interaction, full, dropped, touched))
        return tuple(losses) if len(losses) > 1 else losses[0]

    @torch.no_grad()
    def effective_projection(self) -> Tensor:
        """Returns the projection [k, D] of the features under which the recommender scores as it does now.

        In the warm-up it is the layer's own, columns closed by a round's mask included, since they were trained. Later
        those of each branch count, at the rho of the full loss and with even shares of the attention.
        """
        weight = self.projection.weight.detach()
        if not self.final:
            return weight
        weight = weight * self.mask
        if not self.converts:
            return weight
        return weight + self.variant_training_weight * self.variant_projection.weight * (1 - self.mask)

    @torch.no_grad()
    def frozen(self) -> FrozenRecommender:
        """Returns the recommender as identification and mask generation see it: only the projection is free.

        Propagation is linear, so an item's propagated content is the projection of its propagated features; users,
        ids and the items' norms stay at their present values. The score is then bilinear in projection and mask.
        """
        content = self.item_content(rho=self.variant_training_weight)
        users, items = self.vectors(content)
        scale = None
        if self.temperature:
            users = F.normalize(users, dim=1) / self.temperature
            scale = 1.0 / items.norm(dim=1).clamp_min(1e-12)
        x, width = self.features(), self.embedding_size
        if self.n_layers:  # which brings users' vectors into all columns of an item
            _, without_content = self.vectors(torch.zeros_like(content))
            _, x = self.propagated(x.new_zeros(self.n_users, x.shape[1]), x)
        else:
            without_content = items[:, :width].contiguous()
        users = users.detach()  # where nothing is propagated these are the parameters themselves
        return FrozenRecommender(
            user_id=users[:, : without_content.shape[1]],
            user_feature=users[:, width:],
            item_id=without_content.detach(),
            features=x,
            item_scale=scale,
            rivals=self.objective.known if self.objective.kind == "softmax" else None,
        )

    @torch.no_grad()
    def turn(self, bases: list[Tensor]) -> None:
        """Turns each modality to other axes [D_m, D_m], columns in terms of the present ones; scores stay the same.

        So they do under a mask of ones; any other mask was made for the axes before.
        """
        self.content.turn(bases)
        layers = [self.projection, *([self.variant_projection] if self.conversion == "attention" else [])]
        for layer in layers:
            layer.weight.copy_(along(bases, layer.weight))

    @torch.no_grad()
    def begin_final(self) -> None:
        """Ends the warm-up: a new recommender is drawn, on the present mask; word tables keep what they learned."""
        words = {name: table.get_parameter("weight").clone() for name, table in self.content.tables.items()}
        self.stage.fill_(FINAL)
        self.final = True
        self.reset_parameters()
        for name, weight in words.items():
            self.content.tables[name].get_parameter("weight").copy_(weight)
        self.content.hold_words()

"""InvRL: PaInvRL's machinery held to fixed weights and to the invariant part, over UltraGCN's recommender."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recbole_painvrl.config_keys import read_yaml
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.general_recommender.invrl import FIXED
from tests.model.models import build
from tests.model.test_fusion_recommender import share_of_own_parity, train
from tests.test_properties import PROPERTIES

OWN = {"weight_growth", "faithful", "env_epochs", "faithful_irm_weight", "faithful_gate_weight"}
WITHOUT_RHO = {"variant_weights", "variant_tolerance"}  # there is no rho to choose


def test_it_has_every_key_of_painvrl_that_it_does_not_fix() -> None:
    invrl, painvrl = (set(read_yaml(PROPERTIES / "model" / f"{name}.yaml")) for name in ("InvRL", "PaInvRL"))
    assert set(FIXED) <= painvrl
    assert invrl == painvrl - set(FIXED) - WITHOUT_RHO | OWN


def test_its_recommender_is_ultragcn_as_it_ships() -> None:
    """So that a comparison of the two is one of the mask alone."""
    invrl, ultragcn = (read_yaml(PROPERTIES / "model" / f"{name}.yaml") for name in ("InvRL", "UltraGCN"))
    shared = set(invrl) & set(ultragcn) - {"n_layers"}  # which mf does not read
    assert {key: invrl[key] for key in shared} == {key: ultragcn[key] for key in shared}


def test_warm_up_and_ultragcn_are_the_same_model(tmp_path: Path) -> None:
    invrl, _, loader = build(tmp_path, "InvRL", n_negatives=5)
    ultragcn, _, _ = build(tmp_path, "UltraGCN", n_negatives=5)
    batch = next(iter(loader))
    assert torch.equal(invrl.calculate_loss(batch), ultragcn.calculate_loss(batch))
    decays = [[group["weight_decay"] for group in model.parameter_groups()] for model in (invrl, ultragcn)]
    assert decays[0] == decays[1]


def test_the_final_score_by_hand(tmp_path: Path) -> None:
    """``<P_u, [V_i ; W (m * x_i) + b]>``, the variant part nowhere."""
    model, _, loader = build(tmp_path, "InvRL", n_negatives=5)
    model.mask.copy_(torch.rand(8, generator=torch.Generator().manual_seed(1)))
    model.begin_final()
    with torch.no_grad():
        model.projection.bias.normal_(generator=torch.Generator().manual_seed(2))
    model.eval()
    batch = next(iter(loader))
    content = model.content.dense * model.mask @ model.projection.weight.T + model.projection.bias
    items = torch.cat([model.item_embedding.weight, content], dim=1)
    expected = (model.user_embedding.weight[batch["user_id"]] * items[batch["item_id"]]).sum(1)
    torch.testing.assert_close(model.predict(batch), expected.detach())


@pytest.mark.parametrize("final", [False, True])
def test_learns_the_checkerboard(tmp_path: Path, final: bool) -> None:
    model, _, loader = build(tmp_path, "InvRL", feature_size=8, n_negatives=10, negative_weight=10.0)
    if final:
        model.mask.copy_(torch.tensor([1.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]))
        model.begin_final()
    train(model, loader, steps=60)
    assert share_of_own_parity(model, loader, k=2) > 0.85


def test_no_key_makes_it_another_method(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "InvRL", convert="attention", mask_axes="learned", variant_weight=0.0)
    assert model.conversion == "mask" and not model.content.turnable and float(model.rho) == 1.0


def test_it_says_that_it_needs_features(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="InvRL needs item features"):
        build(tmp_path, "InvRL", modalities={})

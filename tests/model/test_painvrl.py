"""The convert module against its formula, and the frozen view against the model's own scores."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.general_recommender.painvrl import PaInvRL
from recbole_painvrl.utils import create_dataset, data_preparation
from tests.inputs import write_checkerboard, write_items
from tests.model.models import build, to_final


def test_warm_up_is_erm(tmp_path: Path) -> None:
    """Before the first round PaInvRL scores and loses exactly as ERM does."""
    painvrl, _, loader = build(tmp_path, "PaInvRL", convert="mask")
    erm, _, _ = build(tmp_path, "ERM")
    batch = next(iter(loader))
    assert torch.equal(painvrl.calculate_loss(batch), erm.calculate_loss(batch))
    for ours, theirs in zip(painvrl.tables(), erm.tables(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("rho", [0.0, 0.4, 1.0])
def test_convert_is_the_attention_weighted_sum(tmp_path: Path, rho: float) -> None:
    model, _, _ = build(tmp_path, "PaInvRL", variant_weight=rho)
    mask = to_final(model)
    x = model.content()
    invariant = x * mask @ model.projection.weight.T + model.projection.bias
    variant = x * (1 - mask) @ model.variant_projection.weight.T
    energies = torch.stack([torch.tanh(h) @ model.attention.query for h in (invariant, variant)])
    mean = (energies[0] - energies[1]).mean()
    for item in range(model.n_items):
        share = torch.softmax(energies[:, item] - torch.stack([mean, mean.new_zeros(())]), dim=0)
        expected = 2 * (share[0] * invariant[item] + rho * share[1] * variant[item])
        assert torch.allclose(model.item_content()[item], expected, atol=1e-6)


def test_rho_zero_does_not_see_variant_features(tmp_path: Path) -> None:
    """With a hard mask and rho 0, features outside the mask change nothing but the attention's share."""
    model, _, _ = build(tmp_path, "PaInvRL", variant_weight=0.0, new_items="content")
    mask = to_final(model, (torch.arange(8) < 4).float())
    torch.nn.init.zeros_(model.attention.query)
    before = model.item_content()
    model.content.dense[:, mask == 0] += 1.0
    assert torch.equal(model.item_content(), before)
    model.content.dense[:, mask == 1] += 1.0
    assert not torch.equal(model.item_content(), before)


@pytest.mark.parametrize(("w", "r"), [(0.0, 1.0), (0.3, 1.0), (0.3, 1.7), (0.0, 1.7), (1.0, 1.7)])
def test_loss_weighs_both_branches(tmp_path: Path, w: float, r: float) -> None:
    """The full loss is at its own rho, whatever the rho of inference."""
    keys = {"invariant_loss_weight": w, "variant_training_weight": r, "variant_weight": 0.4}
    model, _, loader = build(tmp_path, "PaInvRL", id_dropout=0.0, **keys)
    to_final(model)
    batch = next(iter(loader))
    alone = model.ranking_loss(batch, model.item_content(rho=0.0), None)
    full = model.ranking_loss(batch, model.item_content(rho=r), None)
    losses = model.calculate_loss(batch)
    total = sum(losses) if isinstance(losses, tuple) else losses
    assert torch.allclose(total, w * alone + (1 - w) * full)
    assert isinstance(losses, tuple) == (0 < w < 1)


@pytest.mark.parametrize(
    "keys",
    [
        {"backbone": "mf", "temperature": None},
        {"backbone": "mf", "temperature": 0.2},
        {"backbone": "lightgcn", "n_layers": 2, "temperature": 0.2},
        {"backbone": "lightgcn", "n_layers": 3, "temperature": None},
    ],
)
def test_frozen_view_scores_as_the_model_does(tmp_path: Path, keys: dict) -> None:
    """At the present mask and projection, and with its bias added, the bilinear view is the model's own score."""
    model, _, _ = build(
        tmp_path, "PaInvRL", new_items="content", profile_weight=0.0, new_item_profile_weight=0.0, **keys
    )
    model.mask.uniform_(generator=torch.Generator().manual_seed(0))
    frozen = model.frozen()
    content = (frozen.features * model.mask) @ model.projection.weight.T
    scores = frozen.user_id @ frozen.item_id.T + frozen.user_feature @ content.T
    users, items = model.tables()
    scale = 1.0 if frozen.item_scale is None else frozen.item_scale
    assert torch.allclose(scores * scale, users @ items.T, atol=1e-4)


@pytest.mark.parametrize("convert", ["attention", "mask"])
def test_one_projection_scores_as_both_branches_do(tmp_path: Path, convert: str) -> None:
    """Up to the attention, which is even here; in the warm-up it is the layer itself, whatever the mask."""
    model, _, _ = build(tmp_path, "PaInvRL", convert=convert, variant_training_weight=1.4)
    model.mask.copy_(torch.linspace(0, 1, len(model.mask)))
    assert torch.equal(model.effective_projection(), model.projection.weight)
    model.begin_final()
    if convert == "attention":
        torch.nn.init.zeros_(model.attention.query)
    content = model.features() @ model.effective_projection().T + model.projection.bias
    assert torch.allclose(content, model.item_content(rho=1.4), atol=1e-6)


@pytest.mark.parametrize("convert", ["attention", "mask"])
def test_turning_the_axes_keeps_the_scores(tmp_path: Path, convert: str) -> None:
    """Along other axes the projections are others and every score is the same; the axes are stored with the model."""
    model, _, _ = build(tmp_path, "PaInvRL", mask_axes="learned", convert=convert)
    before = model.tables()
    widths = [block.stop - block.start for block in model.content.blocks]
    source = torch.Generator().manual_seed(0)
    model.turn([torch.linalg.qr(torch.randn(width, width, generator=source))[0] for width in widths])
    for ours, theirs in zip(model.tables(), before, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    other, _, _ = build(tmp_path, "PaInvRL", mask_axes="learned", convert=convert)
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(other.tables(), model.tables(), strict=True))


def test_frozen_tables_are_no_parameters(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "PaInvRL", backbone="mf")
    frozen = model.frozen()
    tables = (frozen.user_id, frozen.user_feature, frozen.item_id, frozen.features, frozen.item_scale)
    assert not any(table is not None and table.requires_grad for table in tables)


def test_begin_final_draws_anew_and_keeps_the_mask(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "PaInvRL")
    fresh = {name: value.clone() for name, value in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    mask = torch.linspace(0, 1, len(model.mask))
    model.mask.copy_(mask)
    model.begin_final()
    assert torch.equal(model.mask, mask)
    assert all(torch.equal(value, fresh[name]) for name, value in model.named_parameters())


def test_words_learn_in_the_warm_up_and_stand_among_the_features_after_it(tmp_path: Path) -> None:
    """A stored state decides: a warm-up that goes on learns its words, a final training has no copy of the features."""
    board = write_checkerboard(tmp_path)
    titles = [f"{'even' if item % 2 == 0 else 'odd'} w{item}" for item in range(26)]
    items = pd.DataFrame({"item_id": [f"i{item}" for item in range(26)], "words": titles})
    write_items(board.folder, board.name, items, {"words": "token_seq"})
    keys = board.config(use_gpu=False, modalities={"words": {"source": "words", "dimension": 5}})
    config = Config("PaInvRL", board.name, config_dict=keys)
    train, *_ = data_preparation(config, create_dataset(config))
    model, other = (PaInvRL(config, train.dataset) for _ in range(2))
    warm = {name: value.clone() for name, value in model.state_dict().items()}
    to_final(model)
    assert model.frozen().features.data_ptr() == model.content.dense.data_ptr()
    assert not model.content().requires_grad
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(*tables) for tables in zip(other.eval().tables(), model.eval().tables(), strict=True))
    model.load_state_dict(warm)
    assert model.content().requires_grad and model.item_content().requires_grad
    torch.testing.assert_close(model.content(), PaInvRL(config, train.dataset).content())


def test_state_of_the_method_is_in_the_state_dict(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "PaInvRL")
    to_final(model)
    model.environment.fill_(3)
    model.rho.fill_(0.3)
    other, _, _ = build(tmp_path, "PaInvRL")
    other.load_state_dict(model.state_dict())
    assert other.converts and torch.equal(other.mask, model.mask) and torch.equal(other.environment, model.environment)
    assert torch.equal(other.rho, model.rho)
    assert not any(name.startswith("content.dense") for name in model.state_dict())


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"convert": "both"}, "convert"),
        ({"modalities": {}}, "modalities"),
        ({"backbone": "gat"}, "backbone"),
        ({"rec_loss": "mse"}, "rec_loss"),
        ({"rec_loss": "ultragcn", "n_negatives": 0}, "n_negatives"),
        ({"new_items": "magic"}, "new_items"),
        ({"feature_rotation": "random"}, "feature_rotation"),
        ({"mask_axes": "random"}, "mask_axes"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, keys: dict, word: str) -> None:
    with pytest.raises(UserError, match=word):
        build(tmp_path, "PaInvRL", **keys)

"""FREEDOM against dense algebra, its edge sampling against probabilities, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.general_recommender.freedom import modality_weights, sample
from tests.model.graphs import dense_adjacency, dense_item_graph, lightgcn, stir
from tests.model.models import build
from tests.model.test_fusion_recommender import share_of_own_parity, train

SHARES = {"invariant": 3.0, "spurious": 1.0}


def built(folder: Path, **keys: Any) -> tuple[Any, Any]:
    """Returns a model and its training loader."""
    model, _, loader = build(folder, "FREEDOM", output_dir=str(folder), graph_neighbors=4, **keys)
    return model, loader


def test_tables_are_those_of_the_dense_graphs(tmp_path: Path) -> None:
    model, loader = built(tmp_path, modality_weights=SHARES, n_item_layers=2)
    stir(model)
    pairs = loader.dataset.inter_feat
    ids = lightgcn(model, dense_adjacency(pairs["user_id"], pairs["item_id"], model.n_users, model.n_items))
    parts = [dense_item_graph(table, 4, weighted=False) for table in model.features().values()]
    graph = 0.75 * parts[0] + 0.25 * parts[1]
    torch.testing.assert_close(model.item_graph.to_dense(), graph)
    users, items = model.tables()
    torch.testing.assert_close(users, ids[: model.n_users])
    torch.testing.assert_close(items, ids[model.n_users :] + graph @ graph @ model.item_embedding.weight)


def test_the_loss_adds_that_of_projected_features_and_l2(tmp_path: Path) -> None:
    model, loader = built(tmp_path, modality_loss_weight=0.7, reg_weight=0.3, pruned_share=0.0)
    stir(model)
    batch = next(iter(loader))
    user, item, other = batch["user_id"], batch["item_id"], batch["negatives"][:, 0]
    users, items = model.tables()
    tables = [items, *(p(x) for p, x in zip(model.projections, model.features().values(), strict=True))]
    parts = [F.softplus((users[user] * (table[other] - table[item])).sum(1)).mean() for table in tables]
    touched = [model.user_embedding.weight[user], model.item_embedding.weight[item], model.item_embedding.weight[other]]
    penalty = 0.3 * sum(rows.square().sum() for rows in touched) / (2 * len(batch))
    torch.testing.assert_close(model.calculate_loss(batch), parts[0] + 0.7 * (parts[1] + parts[2]) + penalty)


def test_an_epoch_trains_on_its_own_edges_and_evaluation_takes_all(tmp_path: Path) -> None:
    model, loader = built(tmp_path, pruned_share=0.75, modality_loss_weight=0.0)
    stir(model)
    whole = model.adjacency.to_dense()
    tables = model.tables()
    drawn = []
    for _ in range(2):
        model.before_epoch()
        drawn.append(model.pruned.to_dense())
    n_pairs = int((whole > 0).sum()) // 2
    assert all(int((graph > 0).sum()) // 2 == round(0.25 * n_pairs) for graph in drawn)
    assert all(bool((whole[graph > 0] > 0).all()) for graph in drawn)
    assert not torch.equal((drawn[0] > 0), (drawn[1] > 0))
    user, item = torch.nonzero(drawn[1][: model.n_users, model.n_users :], as_tuple=True)
    torch.testing.assert_close(drawn[1], dense_adjacency(user, item, model.n_users, model.n_items))
    batch = next(iter(loader))
    users, items = model.vectors(model.pruned)
    torch.testing.assert_close(model.calculate_loss(batch), model.ranking_loss(users, items, batch))
    for before, now in zip(tables, model.tables(), strict=True):
        assert torch.equal(before, now)


def test_the_same_seed_prunes_the_same_edges(tmp_path: Path) -> None:
    one, other = (built(tmp_path)[0] for _ in range(2))
    torch.manual_seed(99)
    for model in (one, other):
        model.before_epoch()
    assert torch.equal(one.pruned.to_dense(), other.pruned.to_dense())
    different = built(tmp_path, seed=7)[0]
    different.before_epoch()
    assert not torch.equal(one.pruned.to_dense(), different.pruned.to_dense())


def test_edges_are_drawn_without_replacement_in_proportion_to_their_weights() -> None:
    """Two of three places with the weights 1, 2, 5: chances of pairs follow from drawing one after the other."""
    source = torch.Generator().manual_seed(3)
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(4000):
        pair = tuple(sample(weights, 2, source).tolist())
        counts[pair] = counts.get(pair, 0) + 1
    expected = {(0, 1): 1 / 8 * 2 / 7 + 2 / 8 * 1 / 6, (0, 2): 1 / 8 * 5 / 7 + 5 / 8 * 1 / 3}
    expected[1, 2] = 1 - sum(expected.values())
    assert set(counts) == set(expected)
    for pair, chance in expected.items():
        assert counts[pair] / 4000 == pytest.approx(chance, abs=0.03)


def test_edge_weights_follow_the_degrees(tmp_path: Path) -> None:
    model, _ = built(tmp_path)
    user, item = model.edges
    degrees = torch.bincount(user)[user], torch.bincount(item)[item]
    torch.testing.assert_close(model.edge_weights, (degrees[0] * degrees[1]).double().pow(-0.5))


@pytest.mark.parametrize("given", [{"invariant": 1.0}, {**SHARES, "other": 1.0}])
def test_weights_of_other_modalities_are_refused(tmp_path: Path, given: dict) -> None:
    with pytest.raises(UserError, match="modality_weights must name invariant, spurious, but names"):
        built(tmp_path, modality_weights=given)


@pytest.mark.parametrize("values", [(-1.0, 1.0), (0, 0), ("much", 1.0), (float("nan"), 1.0)])
def test_weights_that_are_none_are_refused(values: tuple) -> None:
    with pytest.raises(UserError, match="numbers from 0 and not all 0"):
        modality_weights(dict(zip("ab", values, strict=True)), ["a", "b"])


@pytest.mark.parametrize(
    "keys", [{}, {"rec_loss": "softmax", "n_negatives": 0}, {"rec_loss": "ultragcn", "n_negatives": 10}]
)
def test_learns_the_checkerboard(tmp_path: Path, keys: dict) -> None:
    model, loader = built(tmp_path, **keys)
    for _ in range(3):
        model.before_epoch()
        train(model, loader, steps=20)
    assert share_of_own_parity(model, loader, k=2) > 0.85

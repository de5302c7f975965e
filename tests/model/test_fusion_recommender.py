"""ERM and UltraGCN on a data set whose best answers are known, and their parts one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from recbole_painvrl.model.content import ContentFeatures
from recbole_painvrl.model.loss import item_item_graph
from recbole_painvrl.model.neighbors import neighbor_graph
from recbole_painvrl.model.new_items import NewItemNeighbors, neighbor_vectors
from tests.model.models import build
from tests.model.test_content import dense

BARE = {"new_items": "content", "profile_weight": 0.0, "new_item_profile_weight": 0.0}


def train(model, loader, steps: int, lr: float = 0.05) -> None:
    """Trains by plain Adam on the model's own parameter groups."""
    model.train()
    optimizer = torch.optim.Adam(model.parameter_groups(), lr=lr)
    for _ in range(steps):
        for batch in loader:
            losses = model.calculate_loss(batch)
            optimizer.zero_grad()
            (sum(losses) if isinstance(losses, tuple) else losses).backward()
            optimizer.step()
    model.eval()


def share_of_own_parity(model, loader, k: int) -> float:
    """Returns how many of the k best unseen items of each user have the user's parity."""
    dataset = loader.dataset
    users, items = model._scoring_tables()
    scores = users @ items.T
    scores[dataset.inter_feat["user_id"], dataset.inter_feat["item_id"]] = -torch.inf
    scores[:, 0] = -torch.inf
    top = scores[1:].topk(k).indices
    parity = [[int(token[1:]) % 2 for token in dataset.id2token("item_id", row.numpy())] for row in top]
    own = [int(token[1:]) % 2 for token in dataset.id2token("user_id", list(range(1, dataset.user_num)))]
    return float((torch.tensor(parity) == torch.tensor(own)[:, None]).float().mean())


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("ERM", {}),
        ("ERM", {"modalities": {}}),
        ("ERM", {"backbone": "mf", "rec_loss": "bpr", "temperature": None, "n_negatives": 4, "profile_weight": 0.0}),
        ("ERM", {"backbone": "mf", "n_negatives": 10}),
        ("UltraGCN", {"n_negatives": 10, "negative_weight": 10.0}),
        (
            "UltraGCN",
            {"n_negatives": 10, "negative_weight": 10.0, "modalities": {}, "graph_weight": 0.5, "graph_neighbors": 4},
        ),
    ],
)
def test_learns_the_checkerboard(tmp_path: Path, model: str, keys: dict) -> None:
    """Users like the items of their parity: an untrained model recommends half of them, a trained one nearly all."""
    recommender, _, loader = build(tmp_path, model, feature_size=8, **keys)
    train(recommender, loader, steps=60)
    assert share_of_own_parity(recommender, loader, k=2) > 0.85


@pytest.mark.parametrize("new_items", ["content", "neighbors"])
def test_new_items_are_found_by_their_content(tmp_path: Path, new_items: str) -> None:
    """Of the two items without any interaction each user is shown the one of the own parity first."""
    keys = {
        "modalities": {"invariant": {"source": "npy"}},
        **BARE,
        "new_items": new_items,
        "id_dropout": 0.3,
        "new_item_neighbors": 5,
    }
    model, _, loader = build(tmp_path, "ERM", feature_size=8, **keys)
    train(model, loader, steps=60)
    users, items = model._scoring_tables()
    new = [loader.dataset.token2id("item_id", token) for token in ("i24", "i25")]
    even = torch.tensor(
        [int(token[1:]) % 2 == 0 for token in loader.dataset.id2token("user_id", list(range(1, model.n_users)))]
    )
    scores = users[1:] @ items[new].T
    assert float(((scores[:, 0] > scores[:, 1]) == even).float().mean()) > 0.95


def test_profile_term_is_the_cosine_with_the_mean_of_the_own_items(tmp_path: Path) -> None:
    keys = {"temperature": 0.5, "new_items": "content"}
    plain, _, loader = build(tmp_path, "ERM", profile_weight=0.0, new_item_profile_weight=0.0, **keys)
    model, _, _ = build(tmp_path, "ERM", profile_weight=0.3, new_item_profile_weight=2.0, **keys)
    users, items = model.tables()
    base_users, base_items = plain.tables()
    similar = model.content.similarity_features()
    pairs = loader.dataset.inter_feat
    for user in (1, 7):
        own = pairs["item_id"][pairs["user_id"] == user]
        cosine = similar @ F.normalize(similar[own].mean(0), dim=0)
        weight = torch.where(model.warm, 0.3, 2.0)
        expected = base_users[user] @ base_items.T + weight * cosine / 0.5
        assert torch.allclose(users[user] @ items.T, expected, atol=1e-5)


def test_neighbor_vectors_by_hand() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, -1.0], [2.0, 0.0]])
    table = F.normalize(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [9.0, 9.0]]), dim=1)
    known = torch.tensor([False, True, True, True, False])
    neighbors = neighbor_graph(features, 2, rows=torch.tensor([4]), pool=known)
    found = neighbor_vectors(*neighbors, table, known)
    assert torch.allclose(found, F.normalize(torch.tensor([[1.0, 0.6]]), dim=1))
    assert torch.allclose(neighbor_vectors(*neighbors, table, known, length=0.5), found / 2)


@pytest.mark.parametrize("model", ["ERM", "PaInvRL"])
def test_the_length_of_new_items_vectors_scales_their_scores_alone(tmp_path: Path, model: str) -> None:
    keys = {"new_items": "neighbors", "new_item_neighbors": 5, "feature_size": 8}
    (users, long), (_, short) = (
        build(tmp_path, model, new_item_length=length, **keys)[0].eval().tables() for length in (1.0, 0.3)
    )
    changed = (long != short).any(dim=1)
    assert changed.any() and not changed.all()
    torch.testing.assert_close(users @ short[changed].T, 0.3 * users @ long[changed].T)


def test_neighbors_are_sought_again_only_when_contents_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torch.Generator().manual_seed(0)
    content = ContentFeatures({"visual": dense("visual", torch.randn(30, 4, generator=source).numpy())})
    content.make_turnable()
    new, known = torch.tensor([3, 8]), torch.ones(30, dtype=torch.bool).index_fill(0, torch.tensor([0, 3, 8]), False)
    sought: list[int] = []

    def counted(*arguments: object, **more: object) -> tuple[torch.Tensor, torch.Tensor]:
        sought.append(len(sought))
        return neighbor_graph(*arguments, **more)

    monkeypatch.setattr("recbole_painvrl.model.new_items.neighbor_graph", counted)
    neighbors, mask = NewItemNeighbors(5), torch.ones(4)

    def checked(mask: torch.Tensor | None, times: int) -> None:
        expected = neighbor_graph(content.similarity_features(mask), 5, rows=new, pool=known)
        assert all(map(torch.equal, neighbors(content, mask, new, known), expected))
        assert len(sought) == times

    checked(mask, 1)
    checked(mask.clone(), 1)
    mask[1:] = 0.0  # in place, as a round does
    checked(mask, 2)
    checked(None, 3)
    checked(None, 3)
    content.turn([torch.linalg.qr(torch.randn(4, 4, generator=source)).Q])
    checked(None, 4)
    checked(mask, 5)
    content.load_state_dict({**content.state_dict(), "axes_0": torch.eye(4)})
    checked(mask, 6)


def test_dropped_items_are_scored_by_content_alone(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "ERM", id_dropout=0.5, temperature=0.2)
    dropped = model.dropped_items()
    assert 0 < int(dropped.sum()) < model.n_items
    content = model.item_content()
    _, items = model.scoring_tables(content, dropped)
    alone = F.normalize(F.pad(content, (8, 0)), dim=1)
    assert torch.allclose(items[dropped], alone[dropped], atol=1e-6)
    assert not torch.allclose(items[~dropped], alone[~dropped], atol=1e-2)
    model.eval()
    assert model.dropped_items() is None


def test_lightgcn_tables_are_the_mean_of_the_layers(tmp_path: Path) -> None:
    model, _, loader = build(tmp_path, "ERM", backbone="lightgcn", n_layers=2, temperature=None, **BARE)
    graph = torch.zeros(model.n_users + model.n_items, model.n_users + model.n_items)
    user, item = loader.dataset.inter_feat["user_id"], loader.dataset.inter_feat["item_id"]
    graph[user, model.n_users + item] = graph[model.n_users + item, user] = 1.0
    scale = graph.sum(1).clamp_min(1).rsqrt()
    graph = scale[:, None] * graph * scale
    start = torch.cat([model.user_embedding.weight, model.item_vectors(model.item_content())])
    expected = (start + graph @ start + graph @ graph @ start) / 3
    assert torch.allclose(torch.cat(model.tables()), expected, atol=1e-5)


def test_parameter_groups_hold_every_parameter_once(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "ERM", reg_weight=0.3, projection_reg_weight=0.2)
    groups = model.parameter_groups()
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    assert [group["params"] for group in groups[:2]] == [[model.user_embedding.weight], [model.item_embedding.weight]]
    assert [group["weight_decay"] for group in groups] == [0.6 / model.n_users, 0.6 / model.n_items, 0.4]


@pytest.mark.parametrize("model", ["ERM", "UltraGCN"])
def test_weight_decay_is_the_gradient_of_the_regularizer(tmp_path: Path, model: str) -> None:
    """``reg_weight`` times the mean squared length of a table's rows; UltraGCN's is the sum over the whole tables."""
    recommender, _, _ = build(tmp_path, model, reg_weight=0.3)
    for group in recommender.parameter_groups()[:2]:
        (table,) = group["params"]
        lengths = table.square().sum(1)
        (gradient,) = torch.autograd.grad(0.3 * (lengths.sum() if model == "UltraGCN" else lengths.mean()), table)
        torch.testing.assert_close(group["weight_decay"] * table.detach(), gradient)


def test_ultragcn_adds_the_item_term(tmp_path: Path) -> None:
    keys = {"n_negatives": 3, "graph_neighbors": 3, "modalities": {}, "temperature": None}
    model, _, loader = build(tmp_path, "UltraGCN", graph_weight=0.7, **keys)
    batch = next(iter(loader))
    users, items = model.tables()
    user, item = batch["user_id"], batch["item_id"]
    pairs = loader.dataset.inter_feat
    neighbors, omega = item_item_graph(pairs["user_id"], pairs["item_id"], model.n_users, model.n_items, 3)
    scores = (users[user][:, None] * items[neighbors[item]]).sum(2)
    term = (F.softplus(-scores) * omega[item]).sum(1).mean()
    base = model.objective(users, items, batch, user, item)
    assert torch.allclose(model.calculate_loss(batch), base + 0.7 * term)


def test_predict_and_full_sort_agree_and_follow_training(tmp_path: Path) -> None:
    """Scores of pairs are entries of the full matrix, and the cache never outlives the parameters."""
    model, _, loader = build(tmp_path, "ERM")
    batch = next(iter(loader))
    model.eval()
    full = model.full_sort_predict(batch).view(len(batch), -1)
    assert torch.allclose(full[torch.arange(len(batch)), batch["item_id"]], model.predict(batch), atol=1e-6)
    train(model, loader, steps=2)
    assert not torch.allclose(model.full_sort_predict(batch).view(len(batch), -1), full)


def test_same_seed_same_parameters_whatever_the_global_generator(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one, _, _ = build(tmp_path, "ERM")
    torch.manual_seed(2)
    two, _, _ = build(tmp_path, "ERM")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    three, _, _ = build(tmp_path, "ERM", seed=7)
    assert not torch.equal(one.user_embedding.weight, three.user_embedding.weight)


def test_contents_are_compared_once_where_neighbors_and_profiles_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, _ = build(tmp_path, "ERM", new_items="neighbors", profile_weight=0.3)
    model.new = torch.tensor([3])
    compared: list[torch.Tensor] = []
    whole = ContentFeatures.similarity_features

    def counted(content: ContentFeatures, mask: torch.Tensor | None = None) -> torch.Tensor:
        compared.append(whole(content, mask))
        return compared[-1]

    monkeypatch.setattr(ContentFeatures, "similarity_features", counted)
    model.tables()
    assert len(compared) == 1

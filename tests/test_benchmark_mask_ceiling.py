"""The benchmark of what masks could do learns a mask where there is one to be learned, and judges it as runs are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.mask_ceiling import HEADER, TEST, VALID, Choices, Ranking, lines, of_seed, quarters
from recbole_painvrl.model.content import Block
from recbole_painvrl.trainer.controls import permuted_mask
from tests.model.models import build

DATA = Path(__file__).resolve().parent.parent / "dataset"
ITEMS, USERS, TELLING = 400, 40, 2


def two_tastes() -> tuple[Any, Choices]:
    """A trained model of two tastes, which one of eight columns of the features tells apart, and choices by them."""
    source = torch.Generator().manual_seed(0)
    whitened = torch.randn(ITEMS, 8, generator=source)
    liked = (whitened[:, TELLING] > 0).long()
    tastes = 4 * torch.eye(2)
    warm = torch.ones(ITEMS, dtype=torch.bool)
    warm[0] = False
    content = SimpleNamespace(blocks=[Block("a", 0, 3), Block("b", 3, 8)], whitened=whitened, dimension=8)
    content.ranges = lambda: [(0, 3), (3, 8)]
    tables = tastes[torch.arange(USERS) % 2], tastes[liked]
    model = SimpleNamespace(content=content, warm=warm, temperature=None)
    model.new_item_length, model.new_item_profile_weight = 1.0, 0.0
    model.scoring_tables, model.item_content, model.eval = lambda _: tables, lambda: None, lambda: model
    users = torch.randint(USERS, (3000,), generator=source)
    of_taste = [(liked == taste).nonzero().flatten() for taste in (0, 1)]
    items = torch.stack([of_taste[int(u) % 2][int(torch.randint(150, (), generator=source))] for u in users])
    return model, Choices(users, items.clamp_min(1))


def test_the_column_that_tells_is_learned() -> None:
    model, choices = two_tastes()
    ranking = Ranking(model)
    mask = ranking.learned(choices, quarters(ranking.known, 1), 60, 1)
    assert int(mask.argmax()) == TELLING and float(mask.mean()) == pytest.approx(1.0)
    assert float(mask[TELLING]) > 3 * float(mask[:TELLING].max())  # the other columns of its modality


def test_permuted_columns_stay_in_their_modality() -> None:
    model, _ = two_tastes()
    mask = torch.arange(8.0)
    orders = {
        tuple(permuted_mask(mask, model.content.ranges(), torch.Generator().manual_seed(seed)).tolist())
        for seed in range(10)
    }
    assert len(orders) > 1
    assert all(set(order[:3]) == {0.0, 1.0, 2.0} and set(order[3:]) == {3.0, 4.0, 5.0, 6.0, 7.0} for order in orders)


def test_masks_are_judged_by_the_rankings_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    split = {"kind": "cold_items", "candidates": "new", "validation_share": 0.5, "seed": 1}
    settings = {"model": "ERM", "dataset": "planted-small", "data_path": DATA, "epochs": 2, "seed": 1}
    settings |= {"benchmark_filename": ["train", "valid", "test"], "new_items": "neighbors", "ood_split": split}
    found = of_seed(settings, 5)
    assert list(found) == ["none", "train", VALID, TEST]
    plain = found["none"][0]
    assert set(plain.means) == {VALID, TEST} and sum(plain.users.values()) > 0
    assert sum(plain.users.values()) / len(plain.users) == pytest.approx(plain.means[TEST], abs=1e-4)
    assert any(one[0].users != plain.users for one in found.values())
    table = lines("planted-small", "cold_items", [found])
    assert [len(row) for row in table] == [len(HEADER)] * 4 and all(all(row) for row in table[1:])


def test_the_model_compares_contents_as_the_benchmark_does(tmp_path: Path) -> None:
    model, _, _ = build(tmp_path, "ERM", profile_weight=0.5, new_items="neighbors")
    mask = torch.linspace(0.1, 1, model.content.dimension)
    torch.testing.assert_close(Ranking(model).comparable(mask), model.content.similarity_features(mask))

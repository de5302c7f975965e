"""What LATTICE, FREEDOM and MGCN have in common: words, seeds, modalities, and a cache that changes no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.utils import create_dataset, data_preparation, get_model
from tests.inputs import write_checkerboard, write_features
from tests.model.models import build
from tests.model.test_fusion_recommender import train

MODELS = ("LATTICE", "FREEDOM", "MGCN")
WORDS = {"title": {"source": "words", "field": "parity", "dimension": 6}, "spurious": {"source": "npy"}}


def built(folder: Path, model: str, **keys: Any) -> tuple[Any, Any]:
    """Returns a model and its training loader."""
    keys = {"graph_neighbors": 4, "output_dir": str(folder), **keys}
    recommender, _, loader = build(folder, model, **keys)
    return recommender, loader


@pytest.mark.parametrize("model", MODELS)
def test_learned_word_vectors_make_the_graph_of_the_words_and_are_trained(tmp_path: Path, model: str) -> None:
    """Items with the same word are neighbors from the start, whatever the vectors' initial values."""
    recommender, loader = built(tmp_path, model, modalities=WORDS, initial_graph_weight=0.5)
    index, cosine = recommender.frozen_neighbors()
    parity = torch.tensor([int(token[1:]) % 2 for token in loader.dataset.id2token("item_id", range(1, 27))])
    assert torch.equal(parity[index[0, 1:] - 1], parity[:, None].expand(26, 4))
    torch.testing.assert_close(cosine[0, 1:], torch.ones(26, 4))
    before = recommender.content.tables["title"].weight.clone()
    features = recommender.content.dense.clone()
    recommender.before_epoch()
    train(recommender, loader, steps=1)
    assert not torch.equal(recommender.content.tables["title"].weight, before)
    assert torch.equal(recommender.content.dense, features)


@pytest.mark.parametrize("model", MODELS)
def test_the_seed_decides_and_the_cache_changes_nothing(tmp_path: Path, model: str) -> None:
    tables = []
    for cache in ("one", "one", "two"):
        torch.manual_seed(len(tables))
        recommender, loader = built(tmp_path, model, output_dir=str(tmp_path / cache))
        recommender.before_epoch()
        train(recommender, loader, steps=1)
        tables.append(recommender.tables())
    for again in tables[1:]:
        assert all(torch.equal(one, other) for one, other in zip(tables[0], again, strict=True))
    other, _ = built(tmp_path, model, seed=7)
    assert not torch.equal(other.tables()[0], built(tmp_path, model)[0].tables()[0])


@pytest.mark.parametrize("model", MODELS)
def test_items_without_features_are_in_no_graph_of_content(tmp_path: Path, model: str) -> None:
    """What stands in for their features, the mean of the others', would make each the neighbor of all of them."""
    lacking = [2, 3, 5, 9, 16, 20]
    board = write_checkerboard(tmp_path)
    for modality in ("invariant", "spurious"):
        path = tmp_path / board.name / f"{board.name}.{modality}"
        values, tokens = np.load(f"{path}.npy"), Path(f"{path}.ids").read_text().split()
        kept = [row for row, token in enumerate(tokens) if int(token[1:]) not in lacking]
        write_features(tmp_path, board.name, modality, [tokens[row] for row in kept], values[kept])
    keys = {"graph_neighbors": 4, "output_dir": str(tmp_path), "use_gpu": False, "embedding_size": 8}
    config = Config(model, board.name, config_dict=board.config(**keys))
    train, *_ = data_preparation(config, create_dataset(config))
    recommender = get_model(model)(config, train.dataset)
    without = torch.from_numpy(train.dataset.token2id("item_id", [f"i{item}" for item in lacking]))
    index, cosine = recommender.frozen_neighbors()
    assert not cosine[:, without].any() and not torch.isin(index[cosine > 0], without).any()
    assert int((cosine > 0).sum(dim=2).min(dim=0).values.gt(0).sum()) == 26 - len(lacking)
    if model == "LATTICE":
        graph = recommender.build_graph()[0].to_dense()
        assert not graph[without].any() and not graph[:, without].any()


@pytest.mark.parametrize("model", MODELS)
def test_a_data_set_without_modalities_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(UserError, match=f"{model} needs item features"):
        built(tmp_path, model, modalities={})


@pytest.mark.parametrize("model", MODELS)
def test_pairs_and_full_scores_agree_and_nothing_constant_is_stored(tmp_path: Path, model: str) -> None:
    recommender, loader = built(tmp_path, model)
    batch = next(iter(loader))
    recommender.eval()
    full = recommender.full_sort_predict(batch).view(len(batch), -1)
    torch.testing.assert_close(full[torch.arange(len(batch)), batch["item_id"]], recommender.predict(batch))
    assert set(recommender.state_dict()) == {name for name, _ in recommender.named_parameters()}


@pytest.mark.parametrize("model", MODELS)
def test_more_neighbors_than_items_are_all_of_positive_similarity(tmp_path: Path, model: str) -> None:
    recommender, loader = built(tmp_path, model, graph_neighbors=40)
    index, cosine = recommender.frozen_neighbors()
    assert index.shape == (2, 27, 40) and bool((cosine[:, :, 27:] == 0).all())
    losses = recommender.calculate_loss(next(iter(loader)))
    assert torch.isfinite(sum(losses) if isinstance(losses, tuple) else losses)

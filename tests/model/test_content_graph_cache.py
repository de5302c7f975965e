"""Stored neighbors are used for the features they were found by, and for no others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl.model import content_graph_cache
from recbole_painvrl.model.content_graph import content_neighbors
from recbole_painvrl.model.content_graph_cache import cached_neighbors
from recbole_painvrl.randomness import generator


@pytest.fixture
def features() -> torch.Tensor:
    """Returns the features of nine items, the first of which has none."""
    table = torch.randn(9, 4, generator=generator(1, "features"))
    table[0] = 0.0
    return table


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list that grows with each graph that is built and not read."""
    calls: list[int] = []

    def counted(features: torch.Tensor, n_neighbors: int) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(n_neighbors)
        return content_neighbors(features, n_neighbors)

    monkeypatch.setattr(content_graph_cache, "content_neighbors", counted)
    return calls


def assert_found(features: torch.Tensor, n_neighbors: int, folder: Path) -> None:
    """Checks that what comes from the cache is what the features say."""
    for ours, expected in zip(
        cached_neighbors(features, n_neighbors, folder), content_neighbors(features, n_neighbors), strict=True
    ):
        assert torch.equal(ours, expected) and ours.dtype == expected.dtype


def test_equal_features_are_read_and_other_ones_built(features: torch.Tensor, tmp_path: Path, built: list) -> None:
    """One changed number is another graph, though shape and k are the same; so is another k."""
    folder = tmp_path / "out" / "cache"
    for _ in range(2):
        assert_found(features, 3, folder)
    assert len(built) == 1
    changed = features.clone()
    changed[5, 2] += 4.0
    assert_found(changed, 3, folder)
    assert_found(features, 4, folder)
    assert_found(features.double(), 3, folder)
    assert len(built) == 4
    assert len(list(folder.iterdir())) == 4


def replaced(path: Path, **arrays: np.ndarray) -> None:
    """Writes the stored arrays again, some of them changed."""
    with np.load(path) as stored:
        np.savez(path, **{**stored, **arrays})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"index", b"indes")),
        lambda path: np.savez(path, index=np.array([{}], dtype=object), cosine=np.zeros(1)),
        lambda path: np.savez(path, cosine=np.zeros((9, 3))),
        lambda path: replaced(path, index=np.zeros((9, 2), np.int64)),
        lambda path: replaced(path, index=np.full((9, 3), 9)),
        lambda path: replaced(path, cosine=np.full((9, 3), np.nan, np.float32)),
    ],
    ids=["empty", "text", "cut", "renamed", "pickled", "missing", "shape", "range", "nan"],
)
def test_an_unusable_file_is_built_anew_with_one_warning(
    features: torch.Tensor, tmp_path: Path, built: list, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    assert_found(features, 3, tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert_found(features, 3, tmp_path)
    assert len(caplog.records) == 1 and str(path) in caplog.text and "\n" not in caplog.records[0].getMessage()
    assert_found(features, 3, tmp_path)
    assert len(built) == 2 and len(caplog.records) == 1


def test_a_folder_that_cannot_be_written_to_is_no_error(features: torch.Tensor, tmp_path: Path, built: list) -> None:
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        assert_found(features, 3, tmp_path / "file" / "cache")
    assert len(built) == 2


def test_nothing_is_left_beside_the_graph(features: torch.Tensor, tmp_path: Path) -> None:
    cached_neighbors(features, 3, tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name == f"neighbors-{content_graph_cache.digest(features, 3)}.npz"

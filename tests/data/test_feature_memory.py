"""Features are held once, in memory or mapped, and are the same numbers either way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_painvrl.data import feature_memory
from recbole_painvrl.data.atomic import AtomicFormat
from recbole_painvrl.data.feature_memory import blank_matrix
from recbole_painvrl.data.features import Items, load_modalities
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.content import ContentFeatures
from recbole_painvrl.model.leading import LeadingDirections
from recbole_painvrl.model.rotation import rotate


def items(folder: Path) -> Items:
    """40 items with two modalities, one of them in half precision and without item 3."""
    random = np.random.default_rng(0)
    for name, width, rows in (("look", 6, range(40)), ("sound", 3, [i for i in range(40) if i != 3])):
        np.save(folder / f"d.{name}.npy", random.normal(size=(len(rows), width)).astype(np.float16))
        (folder / f"d.{name}.ids").write_text("".join(f"{row}\n" for row in rows))
    return Items(folder, "d", np.array(["[PAD]", *map(str, range(40))]), "item_id", AtomicFormat())


def test_mapped_features_are_those_in_memory_and_leave_no_file(tmp_path: Path) -> None:
    known = items(tmp_path)
    before = sorted(tmp_path.iterdir())
    held, mapped = (load_modalities(None, known, 0, memory) for memory in ("ram", "mmap"))
    assert sorted(tmp_path.iterdir()) == before
    for name in held:
        assert np.array_equal(held[name].values, mapped[name].values)
    assert isinstance(mapped["look"].values.base, np.memmap)


@pytest.mark.parametrize("memory", ["ram", "mmap"])
def test_the_model_holds_no_copy_of_the_features(tmp_path: Path, memory: str) -> None:
    loaded = load_modalities(None, items(tmp_path), 0, memory)
    content = ContentFeatures(loaded, similarity=False)
    assert content.dense.data_ptr() == loaded["look"].values.ctypes.data
    expected = np.concatenate([loaded["look"].values, loaded["sound"].values], axis=1)
    assert np.array_equal(content().numpy(), expected)
    turned = ContentFeatures({"sound": loaded["sound"], "look": loaded["look"]}, similarity=False)
    assert np.array_equal(turned().numpy(), np.concatenate([expected[:, 6:], expected[:, :6]], axis=1))


def test_auto_maps_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(blank_matrix((10, 10), "auto", tmp_path), np.memmap)
    monkeypatch.setattr(feature_memory, "free_memory", lambda: 700)
    assert isinstance(blank_matrix((10, 10), "auto", tmp_path), np.memmap)
    assert not isinstance(blank_matrix((10, 10), "ram", tmp_path), np.memmap)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_memory.os, "posix_fallocate", full)
    with pytest.raises(UserError, match="has no room for"):
        blank_matrix((10, 10), "mmap", tmp_path)


def test_projection_without_a_copy_is_the_projection_of_masked_features(tmp_path: Path) -> None:
    content = ContentFeatures(load_modalities(None, items(tmp_path), 0), similarity=False)
    weight, bias, mask = torch.randn(4, 9), torch.randn(4), torch.rand(9)
    expected = (content() * mask) @ weight.T + bias
    assert torch.allclose(content.project(weight * mask, bias), expected, atol=1e-5)


def test_leading_directions_compare_as_whitened_features_do_under_a_mask() -> None:
    random = np.random.default_rng(1)
    values = (random.normal(size=(200, 12)) @ random.normal(size=(12, 12))).astype(np.float32)
    present = np.arange(200) > 1
    mask = torch.from_numpy(random.random(12).astype(np.float32))
    whole = torch.from_numpy(rotate(values, present, "zca") * present[:, None]) * mask
    found = LeadingDirections(values, present, 12)(mask)
    scale = whole.square().sum() / found.square().sum()
    assert torch.allclose(scale * found @ found.T, whole @ whole.T, atol=1e-3 * float((whole @ whole.T).max()))
    assert not found[:2].any()

"""Controls take the knowledge out of one module and leave everything else as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_painvrl.randomness import generator
from recbole_painvrl.trainer import rounds
from recbole_painvrl.trainer.controls import permuted_labels, permuted_mask
from tests.trainer.test_rounds import labels_by, rounds_on


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_permuted_labels_keep_their_sizes() -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor([50, 30, 20]))
    dealt = permuted_labels(labels, None, generator(0, "test"))
    assert torch.bincount(dealt).tolist() == [50, 30, 20]
    assert not torch.equal(dealt, labels)
    assert torch.equal(dealt, permuted_labels(labels, None, generator(0, "test")))


def test_permuted_labels_keep_sizes_over_units_and_units_together() -> None:
    """Units of 1 to 12 interactions under numbers with gaps, in any order of rows."""
    units = (10 * torch.arange(12)).repeat_interleave(torch.arange(1, 13))
    of_unit = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    order = torch.randperm(len(units), generator=torch.Generator().manual_seed(3))
    units = units[order]
    labels = of_unit[units // 10]
    dealt = permuted_labels(labels, units, generator(0, "test"))
    found = [dealt[units == unit].unique() for unit in units.unique()]
    assert all(len(values) == 1 for values in found)
    assert torch.bincount(torch.cat(found)).tolist() == [7, 3, 2]
    assert not torch.equal(dealt, labels)


def test_a_permuted_mask_keeps_the_values_of_each_modality() -> None:
    mask = torch.rand(20, generator=torch.Generator().manual_seed(0))
    dealt = permuted_mask(mask, [(0, 5), (5, 20)], generator(0, "test"))
    for start, stop in ((0, 5), (5, 20)):
        assert torch.equal(dealt[start:stop].sort().values, mask[start:stop].sort().values)
    assert not torch.equal(dealt, mask)


def one_round(folder: Path, **keys: Any) -> tuple[Any, Any, dict[str, Any]]:
    found, dataset = rounds_on(folder, mask_steps=6, **keys)
    seen = found.identify(0, dataset, show_progress=False)
    found.generate_mask(0, dataset, show_progress=False)
    return found, dataset, seen


def test_a_control_changes_its_own_module_alone(folder: Path) -> None:
    """Permuted labels are of the same sizes; a permuted mask comes from the same labels and values."""
    (plain, dataset, seen), (labels, _, dealt), (mask, _, same) = (
        one_round(folder, env_level="session", control=control) for control in ("none", "labels", "mask")
    )
    assert torch.equal(mask.model.environment, plain.model.environment)
    assert same["sizes"] == seen["sizes"]
    assert not torch.equal(mask.model.mask, plain.model.mask)
    for block in plain.model.content.blocks:
        ours, theirs = (one.model.mask[block.start : block.stop].sort().values for one in (mask, plain))
        assert torch.equal(ours, theirs)
    assert not torch.equal(labels.model.environment, plain.model.environment)
    assert dealt["history"] == seen["history"]  # the search itself is the same
    sessions = [labels_by("session_id", one, dataset) for one in (plain, labels)]
    assert all(len(values) == 1 for together in sessions for values in together.values())
    counts = [sorted(label for values in together.values() for label in values) for together in sessions]
    assert counts[0] == counts[1]


def test_given_labels_are_permuted_one_by_one(folder: Path) -> None:
    *_, seen = one_round(folder, env_field="environment", control="labels")
    assert sorted(seen["sizes"]) == [160, 200]
    assert abs(seen["known"]["ari"]) < 0.1


def test_without_a_control_nothing_is_drawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a control was at work")

    monkeypatch.setattr(rounds, "permuted_labels", never)
    monkeypatch.setattr(rounds, "permuted_mask", never)
    one_round(folder, control="none")

"""Candidates that are drawn: none that its user has, uniform, and the same however they are cut into batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader

from recbole_painvrl.config import Config
from recbole_painvrl.data.drawn_candidates import DrawnCandidatesLoader, runs
from recbole_painvrl.data.full_sort import pair_keys
from recbole_painvrl.data.preparation import data_preparation, further_test_loaders, further_validation_loaders
from recbole_painvrl.errors import UserError
from recbole_painvrl.simulate import simulate_scale
from recbole_painvrl.utils import create_dataset
from tests.inputs import Board, write_interactions

N_USERS, N_ITEMS = 60, 50


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate_scale("10m", "d", 0, folder, users=N_USERS, items=N_ITEMS, interactions=600)
    return folder


def loaders(data_path: Path, **more: Any) -> Any:
    given = {"data_path": str(data_path), "eval_args": {"mode": "uni5"}, "eval_batch_size": 200, **more}
    config = Config("ERM", "d", config_dict=given)
    return data_preparation(config, create_dataset(config))


def drawn(loader: DrawnCandidatesLoader) -> torch.Tensor:
    """Returns user, item and label of all candidates in the loader's order, [n, 3]."""
    names = loader.uid_field, loader.iid_field, loader.label_field
    return torch.cat([torch.stack([batch[0][name].double() for name in names], dim=1) for batch in loader]).long()


def test_every_positive_has_its_negatives_and_none_is_known(data_path: Path) -> None:
    train, valid, test = loaders(data_path)
    before = {}
    for name, loader, parts in (("valid", valid, [train, valid]), ("test", test, [train, valid, test])):
        assert isinstance(loader, DrawnCandidatesLoader) and len(loader) > 1
        found = drawn(loader)
        own = set(pair_keys(loader._dataset).tolist())
        keys = found[:, 0] * (N_ITEMS + 1) + found[:, 1]
        known = {key for part in parts for key in pair_keys(part._dataset).tolist()}
        assert set(keys[found[:, 2] == 1].tolist()) == own and (found[:, 2] == 1).sum() == len(own)
        assert len(found) == 6 * len(own) and not known & set(keys[found[:, 2] == 0].tolist())
        assert found[:, 1].min() >= 1 and found[:, 1].max() <= N_ITEMS
        before[name] = found
    assert not torch.equal(before["valid"], before["test"][: len(before["valid"])])


def test_rows_and_positives_are_those_of_the_batch(data_path: Path) -> None:
    for interaction, rows, positive_u, positive_i in loaders(data_path)[2]:
        users = torch.unique_consecutive(interaction["user_id"])
        assert torch.equal(users[rows], interaction["user_id"])
        labels = interaction["label"] == 1
        assert torch.equal(rows[labels], positive_u) and torch.equal(interaction["item_id"][labels], positive_i)
        assert positive_u.unique().tolist() == list(range(len(users)))


def test_candidates_depend_on_the_seed_alone(data_path: Path) -> None:
    test = loaders(data_path)[2]
    assert torch.equal(drawn(test), drawn(test))
    for size in (1, 77, 10**6):
        assert torch.equal(drawn(loaders(data_path, eval_batch_size=size)[2]), drawn(test))
    assert not torch.equal(drawn(loaders(data_path, seed=7)[2]), drawn(test))


def test_batches_keep_to_their_size(data_path: Path) -> None:
    test = loaders(data_path)[2]
    areas = [int(torch.bincount(rows).max()) * (int(rows.max()) + 1) for _, rows, *_ in test]
    assert max(areas) <= 200 and len(areas) == len(test)
    assert len(loaders(data_path, eval_batch_size=1)[2]) == test.sample_size


def test_runs_are_the_longest_that_fit() -> None:
    widths = np.array([2, 2, 3, 20, 1, 1, 1, 1, 1])
    assert runs(widths, 9) == [range(3), range(3, 4), range(4, 9)]
    assert runs(widths, 8, start=10) == [range(10, 12), range(12, 13), range(13, 14), range(14, 19)]
    assert runs(widths, 1) == [range(place, place + 1) for place in range(9)]
    assert runs(widths, 10**6) == [range(9)] and runs(widths[:0], 5) == []


def test_negatives_are_uniform(data_path: Path) -> None:
    test = loaders(data_path, eval_args={"mode": "uni400"})[2]
    found = drawn(test)
    user = int(found[0, 0])
    items = found[(found[:, 0] == user) & (found[:, 2] == 0), 1]
    counts = torch.bincount(items, minlength=N_ITEMS + 1)
    unknown = int(test.unknown.unknown[user])
    assert (counts > 0).sum() == unknown
    expected = len(items) / unknown
    chi_squared = ((counts[counts > 0] - expected) ** 2 / expected).sum()
    assert chi_squared < 2 * unknown  # far out in the tail of its distribution, whose mean is unknown - 1


@pytest.mark.parametrize("phase", ["valid", "test"])
def test_each_phase_has_its_mode(board: Board, phase: str) -> None:
    other = {"valid": "test", "test": "valid"}[phase]
    config = Config("ERM", board.name, config_dict=board.config(eval_args={"mode": {phase: "uni5", other: "full"}}))
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    further = further_test_loaders(config, dataset, train, valid)["test_ood"]
    kinds = {phase: DrawnCandidatesLoader, other: FullSortEvalDataLoader}
    assert isinstance(valid, kinds["valid"]) and isinstance(test, kinds["test"])
    assert isinstance(further, kinds["test"])
    assert not further_validation_loaders(config, dataset, train, valid)


def test_further_sets_of_recboles_models_have_the_mode_of_the_test(board: Board) -> None:
    config = Config("BPR", board.name, config_dict=board.config(eval_args={"mode": {"valid": "full", "test": "uni5"}}))
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    further = further_test_loaders(config, dataset, train, valid)["test_ood"]
    assert isinstance(further, NegSampleEvalDataLoader) and further.times == 6


@pytest.mark.parametrize("model", ["ERM", "BPR"])
def test_a_user_with_every_item_is_named(tmp_path: Path, model: str) -> None:
    rows = [("all", f"i{item}") for item in range(20)] + [(f"u{item}", f"i{item}") for item in range(20)]
    write_interactions(tmp_path, "d", pd.DataFrame(rows, columns=["user_id", "item_id"]))
    config = Config(model, "d", config_dict={"data_path": str(tmp_path), "eval_args": {"mode": "uni5"}})
    with pytest.raises(UserError, match=r"dataset 'd': negatives cannot be drawn .*user_inter_num_interval"):
        data_preparation(config, create_dataset(config))

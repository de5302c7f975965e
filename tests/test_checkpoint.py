"""Checkpoints are plain data, come back unchanged, and nothing else is opened."""

from __future__ import annotations

import pickle
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

from recbole_painvrl import checkpoint
from recbole_painvrl.errors import UserError


def roundtrip(path: Path, value: object) -> object:
    checkpoint.save(path / "x.pth", {"value": value})
    return checkpoint.load(path / "x.pth")["value"]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True], 3: ("x", b"y")},
        OrderedDict([("b", 1), ("a", 2)]),
        random.Random(1).getstate(),
        {"nested": {"deep": {"numbers": [0.1, -np.inf]}}},
    ],
)
def test_plain_values_come_back(tmp_path: Path, value: object) -> None:
    found = roundtrip(tmp_path, value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint32", "bool"])
def test_arrays_come_back(tmp_path: Path, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = roundtrip(tmp_path, array)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    found[0, 0] = 1  # writable, as models expect


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok"])
def test_sparse_matrices_come_back(tmp_path: Path, form: str) -> None:
    matrix = scipy.sparse.random(5, 7, density=0.3, format=form, random_state=1, dtype=np.float32)
    found = roundtrip(tmp_path, matrix)
    assert found.format == form
    assert found.dtype == matrix.dtype
    assert np.array_equal(found.toarray(), matrix.toarray())


def test_numpy_numbers_become_plain_ones(tmp_path: Path) -> None:
    found = roundtrip(tmp_path, {"score": np.float64(0.5), "n": np.int64(2)})
    assert [type(value) for value in found.values()] == [float, int]


def test_matrices_stay_matrices(tmp_path: Path) -> None:
    assert isinstance(roundtrip(tmp_path, np.matrix([[1.0, 2.0]])), np.matrix)


def test_torch_reads_the_file_with_weights_only(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.pth", {"state_dict": torch.nn.Linear(2, 1).state_dict(), "array": np.arange(3)})
    assert torch.load(tmp_path / "x.pth", weights_only=True)["format"] == checkpoint.FORMAT


@pytest.mark.parametrize("value", [object(), {"deep": [lambda: 0]}, np.array(["text"])])
def test_what_is_not_plain_is_refused_by_name(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="value"):
        roundtrip(tmp_path, value)


class Pickled:
    """Stands for the Config object in RecBole's checkpoints."""


def recbole_style(path: Path) -> None:
    torch.save({"config": Pickled(), "state_dict": {}}, path, pickle_protocol=4)


def foreign(path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, path)


def cut_off(path: Path) -> None:
    checkpoint.save(path, {"x": torch.zeros(10000)})
    path.write_bytes(path.read_bytes()[:2000])


def text(path: Path) -> None:
    path.write_text("no model")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"x": Pickled()}))


def altered(path: Path) -> None:
    checkpoint.save(path, {"x": torch.arange(10000.0)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("write", [recbole_style, foreign, cut_off, altered, text, empty, plain_pickle])
def test_other_files_are_refused_in_one_line(tmp_path: Path, write, mapped: bool) -> None:
    path = tmp_path / "model.pth"
    write(path)
    with pytest.raises(UserError) as refusal:
        checkpoint.load(path, mapped)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def test_recboles_checkpoints_are_named_as_such(tmp_path: Path) -> None:
    recbole_style(tmp_path / "model.pth")
    with pytest.raises(UserError, match="as RecBole's own checkpoints do"):
        checkpoint.load(tmp_path / "model.pth")


@pytest.mark.parametrize("mapped", [False, True])
def test_a_missing_file_is_named(tmp_path: Path, mapped: bool) -> None:
    with pytest.raises(UserError, match="there is no such model file"):
        checkpoint.load(tmp_path / "none.pth", mapped)


def test_a_mapped_file_holds_the_same_and_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    checkpoint.save(path, {"x": torch.arange(5), "y": {"z": np.arange(3)}})
    found = checkpoint.load(path, mapped=True)
    found["x"][0] = 7  # a change of the copy in memory
    checkpoint.save(path, {"x": torch.zeros(5), "y": 1})
    assert found["x"].tolist() == [7, 1, 2, 3, 4] and found["y"]["z"].tolist() == [0, 1, 2]
    assert checkpoint.load(path)["x"].tolist() == [0] * 5


def draws() -> list[float]:
    return [random.random(), float(np.random.random()), float(torch.rand(()))]


def test_random_states_continue_the_sequence(tmp_path: Path) -> None:
    stored = roundtrip(tmp_path, checkpoint.random_states())
    expected = draws()
    checkpoint.set_random_states(stored)
    assert draws() == expected


class Loader:
    """Has a generator of its own, and a sampler with another."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)
        self.sampler = type("Sampler", (), {})()
        self.sampler.generator = torch.Generator().manual_seed(2)

    def draws(self) -> list[float]:
        return [float(torch.rand((), generator=one)) for one in (self.generator, self.sampler.generator)]


def test_generators_of_loaders_continue_the_sequence(tmp_path: Path) -> None:
    loader = Loader()
    stored = roundtrip(tmp_path, checkpoint.loader_states({"train": loader, "valid": None}))
    expected = loader.draws()
    checkpoint.set_loader_states({"train": loader, "valid": None}, stored)
    assert loader.draws() == expected

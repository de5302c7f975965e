"""Commands on the checkerboard, each in an empty folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.inputs import write_checkerboard

Flags = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def keys(folder: Path) -> Callable[..., dict[str, str]]:
    """Raw keys that train briefly on the data sets ``board`` and ``broken``, whose validation set has a bad line."""
    board = write_checkerboard(folder / "data")
    broken = write_checkerboard(folder / "data", name="broken")
    with open(Path(broken.folder, "broken", "broken.valid.inter"), "a") as file:
        file.write("u1\n")

    def raw(**more: Any) -> dict[str, str]:
        # the data path is relative, as the working directory has to be the workers' too
        values = board.config(data_path="data", epochs=2, train_batch_size=64, embedding_size=8)
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in (values | more).items()}

    return raw


@pytest.fixture
def flags(keys: Callable[..., dict[str, str]]) -> Flags:
    """The same as words of a command line."""
    return lambda **more: [f"--{key}={value}" for key, value in keys(**more).items()]

"""Fixtures of the data tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl.config import Config
from recbole_painvrl.data.dataset import MultimodalDataset
from tests.data.splitting import write_timed
from tests.inputs import Board, write_checkerboard


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A checkerboard in a folder of its own."""
    return write_checkerboard(tmp_path)


@pytest.fixture
def load() -> Callable[..., MultimodalDataset]:
    """Loads a data set under a configuration given as a dictionary."""

    def load_dataset(name: str, config: dict[str, Any], kind: type = MultimodalDataset) -> Any:
        return kind(Config(model="BPR", dataset=name, config_dict={"use_gpu": False, "show_progress": False, **config}))

    return load_dataset


@pytest.fixture
def timed(tmp_path: Path) -> tuple[str, Path]:
    """Name and data path of a data set without ready splits that every kind of split can be applied to."""
    return write_timed(tmp_path)

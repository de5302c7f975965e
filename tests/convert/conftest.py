"""Folders for raw files and for data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_painvrl.convert import convert
from recbole_painvrl.errors import UserError
from tests.convert.inputs import WRITERS


@pytest.fixture
def raw(tmp_path: Path) -> Callable[[str], Path]:
    """Gives a function that writes the tiny data set in a layout and returns its folder."""

    def write(layout: str) -> Path:
        folder = tmp_path / f"raw-{layout}"
        folder.mkdir()
        WRITERS[layout][1](folder)
        return folder

    return write


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Gives a function that converts, expects a one-line refusal that leaves nothing behind, and returns it."""

    def run(format: str, folder: Path, **options: bool | int | None) -> str:
        with pytest.raises(UserError) as caught:
            convert(format, folder, "tiny", tmp_path / "dataset", **options)
        message = str(caught.value)
        assert "\n" not in message
        assert not (tmp_path / "dataset").exists() or not list((tmp_path / "dataset").iterdir())
        return message

    return run

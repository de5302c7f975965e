"""The run folder as the other processes of a run see it: they read, and leave writing to the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from recbole_painvrl.report.records import RunFolder


class Onlooker(RunFolder):
    """A run folder in which nothing is written."""

    @property
    def offset(self) -> int:
        """Nobody asks for it: checkpoints are the first process's."""
        return 0

    def claim(self) -> None:
        """Does nothing."""

    def release(self) -> None:
        """Does nothing."""

    def check_space(self, n_bytes: int) -> None:
        """Does nothing."""

    def rewind(self, offset: int) -> None:
        """Does nothing."""

    def record(self, event: str, **values: Any) -> None:
        """Does nothing."""

    def write_text(self, name: str, text: str) -> None:
        """Does nothing."""

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Does nothing."""

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Does nothing."""

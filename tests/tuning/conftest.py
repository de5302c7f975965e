"""Searches on the checkerboard, each in an empty folder."""

from __future__ import annotations

from tests.comparison.conftest import flags, folder, keys  # noqa: F401  (fixtures)

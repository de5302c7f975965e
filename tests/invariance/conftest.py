"""Trained recommenders that several tests of the method share."""

from __future__ import annotations

import pytest

from tests.invariance.pretrained import Study, study


@pytest.fixture(scope="session")
def small() -> Study:
    """R1 with a third of its users and items."""
    return study("R1", 0, n_users=200, n_items=150)


@pytest.fixture(scope="session")
def recovery() -> Study:
    """R1 in full, on which the truth can be recovered."""
    return study("R1", 0)

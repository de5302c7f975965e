"""A folder of two models with three seeds each, whose records hold all that a report can show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.made_runs import make_run, make_truth


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``runs`` of PaInvRL and ERM on the data set ``made``."""
    root = tmp_path_factory.mktemp("made")
    make_truth(root)
    for seed in (1, 2, 3):
        make_run(root, "PaInvRL", seed)
        make_run(root, "ERM", seed, rounds=0)
    return root

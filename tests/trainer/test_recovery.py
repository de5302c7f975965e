"""Masks of the whole program with what it ships, on simulated data of known truth and with given environments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.simulate import simulate
from tests.planted import area_under_curve

KINDS = {"invariant": 1, "spurious": 0, "noise": -1}


def mask_of(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The mask of one round on r1, and the truth of each column."""
    simulate("r1", "r1", seed, folder)
    keys = {"data_path": str(folder), "output_dir": str(folder / "runs"), "use_gpu": False, "show_progress": False}
    keys |= {"env_field": "environment", "n_rounds": 1, "seed": seed, "warmup_epochs": 20, "epochs": 21}
    run_recbole_painvrl("PaInvRL", "r1", config_dict=keys)
    (run,) = (folder / "runs" / "r1" / "PaInvRL").iterdir()
    columns = pd.read_csv(run / "mask.csv").merge(
        pd.read_csv(folder / "r1" / "truth.csv"), on=["modality", "dimension"]
    )
    return columns["mask"].to_numpy(), columns["truth"].map(KINDS).to_numpy()


def assert_recovered(mask: np.ndarray, truth: np.ndarray) -> None:
    """Invariant columns pass, spurious ones do not."""
    assert mask[truth == 1].mean() >= 0.8 and mask[truth == 0].mean() <= 0.1
    assert area_under_curve(mask, truth) >= 0.95


def test_the_program_recovers_the_invariant_columns(tmp_path: Path) -> None:
    assert_recovered(*mask_of(tmp_path, 0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_the_program_recovers_the_invariant_columns_on_every_seed(tmp_path: Path, seed: int) -> None:
    assert_recovered(*mask_of(tmp_path, seed))

"""``enable_amp``: products in half precision, sums and losses in single; every model ends where it ends without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recbole_painvrl.quick_start import run_recbole_painvrl
from tests.inputs import write_checkerboard
from tests.model.models import OURS

FEW = ("PaInvRL", "GRCN")  # every kind of sparse product
STAGES = {"warmup_epochs": 2, "n_rounds": 1, "n_environments": 2}
SEARCHES = {"env_max_iter": 2, "mask_steps": 5}
TOLERANCE = 0.05  # of a validation score over 40 users after 4 epochs; another seed differs by more


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    "model", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in OURS]
)
def test_half_precision_ranks_as_single_does(model: str, device: str, tmp_path: Path) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    board = write_checkerboard(tmp_path / "data")
    stages = {"PaInvRL": STAGES | SEARCHES, "InvRL": STAGES}.get(model, {})
    keys = board.config(use_gpu=device == "cuda", embedding_size=8, train_batch_size=128, epochs=4, **stages)
    scores = [
        run_recbole_painvrl(
            model, "board", config_dict={**keys, "enable_amp": half, "output_dir": str(tmp_path / name)}
        )
        for name, half in (("single", False), ("half", True))
    ]
    single, half = (one["best_valid_score"] for one in scores)
    assert half == pytest.approx(single, abs=TOLERANCE)

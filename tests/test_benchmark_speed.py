"""The benchmark of speed measures every stage, here on tiny data, and compares like with like."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.speed import HEADER, Line, drawn_lines, evaluation_lines, loading_lines, stage_lines
from benchmarks.speed_parts import Stage, stock_loader

DATA = Path(__file__).resolve().parent.parent / "dataset"


def test_every_stage_has_its_line(tmp_path: Path) -> None:
    settings = {"data_path": DATA, "dataset": "planted-small", "mask_steps": 2, "n_environments": 2}
    ultragcn, painvrl = (Stage.of(model, settings, str(tmp_path)) for model in ("UltraGCN", "PaInvRL"))
    drawn = Stage.of("UltraGCN", {**settings, "eval_args": {"mode": "uni10"}}, str(tmp_path))
    lines = [*loading_lines(ultragcn, painvrl), *evaluation_lines(ultragcn), *drawn_lines(drawn)]
    lines += stage_lines(ultragcn, painvrl)
    assert all(line.ours > 0 and len(line.cells) == len(HEADER) for line in lines)
    whats = [line.what for line in lines]
    stages = "an epoch's batches", "reading the features", "identification, 2", "mask, 2"
    for what in (*stages, "full-sort evaluation", "evaluation, 100 drawn"):
        assert any(one.startswith(what) for one in whats), what


@pytest.mark.parametrize(("ours", "least", "reached"), [(1.0, 20, "no"), (0.1, 20, "yes"), (5.0, 1 / 3, "yes")])
def test_a_goal_is_a_ratio(ours: float, least: float, reached: str) -> None:
    cells = Line("what", ours, "other", 2.0, least).cells
    assert cells[4] == f"{2.0 / ours:.3g}" and cells[-1] == reached
    assert Line("what", ours, "other", 2.0).cells[-2:] == ["", ""]


def test_recboles_loader_has_the_same_interactions_and_negatives(tmp_path: Path) -> None:
    settings = {"data_path": DATA, "dataset": "planted-small", "n_negatives": 7}
    stage = Stage.of("UltraGCN", settings, str(tmp_path))
    loader, theirs = stage.data.train, list(stock_loader(stage))
    assert sum(len(batch) for batch in theirs) == loader.n_negatives * sum(len(batch) for batch in loader)
    users = torch.cat([batch["user_id"] for batch in theirs])
    assert torch.equal(torch.bincount(users), loader.n_negatives * torch.bincount(loader.users))


def test_devices_and_precisions_have_a_line_each(tmp_path: Path) -> None:
    table = tmp_path / "gpu.md"
    keys = {"data_path": DATA, "mask_steps": 2, "n_environments": 2}
    words = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    gpu.main(["--dataset", "planted-small", "--models", "ERM,PaInvRL", "--epochs", "1", *words, "--output", str(table)])
    rows = [line.strip("| ").split(" | ") for line in table.read_text().splitlines() if line.startswith("| ")][2:]
    devices = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    wanted = [[model, *place] for place in ((device,) for device in devices) for model in ("ERM", "PaInvRL")]
    assert [row[:3] for row in rows] == [[*one, precision] for one in wanted for precision in ("single", "mixed")]
    assert all(float(row[-1]) > 0 for row in rows)

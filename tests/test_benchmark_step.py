"""The benchmark of the training step compares like with like."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import step
from benchmarks.problem import Source, simulated


def test_all_ways_agree_on_loss_and_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    """The command checks the equality before it measures anything, also without the real data."""
    step.main(["--data", "absent", "--shape", "60", "40", "900", "--rounds", "0"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10 and all(float(line.rsplit(" ", 1)[1]) < 1e-4 for line in lines)


def test_a_different_loss_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails if one way computes something else."""
    right = step.ultragcn_loss
    monkeypatch.setattr(step, "ultragcn_loss", lambda *arguments: 1.01 * right(*arguments))
    with pytest.raises(AssertionError, match="differ"):
        step.check_equality(simulated(60, 40, 900))


def test_each_contender_runs_and_ends_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row of the table can be prepared and measured."""
    monkeypatch.setattr(step, "keep_freed_memory", lambda: True)
    found = {}
    for key in step.CONTENDERS:
        step.prepare(key, Source(Path("absent"), (60, 40, 900)))
        found[key] = [step.measure(0.001)]
    text = step.table(found, "tiny")
    assert text.count("\n| (") == len(step.CONTENDERS)
    assert text.splitlines()[-1].endswith("| 1.0 |")

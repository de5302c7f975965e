"""Commands as a user starts them, in processes of their own: ended, killed, and two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_painvrl import cli
from recbole_painvrl.comparison.record import read
from recbole_painvrl.report.records import RunFolder
from tests.comparison.conftest import Flags
from tests.comparison.test_compare import runs, the_comparison

SCRIPT = Path(__file__).resolve().parents[2] / "run_recbole_painvrl.py"
SECONDS = 120


def start(name: str, *words: str) -> subprocess.Popen:
    """Starts a command that writes to ``<name>.out`` and ``<name>.err``: a pipe that nobody reads would stop it."""
    with open(f"{name}.out", "wb") as out, open(f"{name}.err", "wb") as err:
        return subprocess.Popen([sys.executable, str(SCRIPT), *words], stdout=out, stderr=err)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def training(n_runs: int) -> Callable[[], bool]:
    """Whether that many runs have trained some epochs."""
    return lambda: sum(len(run.records("train")) > 2 for run in map(RunFolder, all_runs())) >= n_runs


def all_runs() -> list[Path]:
    return list(Path("runs/board/BPR").glob("*"))


def unlocked() -> bool:
    return not any(RunFolder(run).owner for run in all_runs())


def command(flags: Flags, epochs: int = 30) -> list[str]:
    return ["-m", "BPR", "-d", "board", "--seeds=1,2", *flags(epochs=epochs, stopping_step=epochs)]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_ended_comparison_continues(flags: Flags, how: signal.Signals) -> None:
    """Ended or killed without warning, its workers end by themselves, and nothing is lost, locked or changed."""
    process = start("ended", *command(flags), "--parallel=2")
    wait_until(training(2))
    os.kill(process.pid, how)
    process.wait(SECONDS)
    said = Path("ended.err").read_text()
    wait_until(unlocked)
    record = the_comparison()
    if how == signal.SIGTERM:
        assert process.returncode == 143
        assert said.splitlines()[-1] == f"interrupted (0 of 2 done); continue with --resume={record.path}"
        assert [cell.state for cell in record.cells] == ["interrupted"] * 2
        assert "Traceback" not in said
    else:
        assert [cell.state for cell in record.cells] == ["running"] * 2
    assert not any(RunFolder(run).finished for run in all_runs())
    assert cli.main([f"--resume={record.path}", "--parallel=1"]) == 0
    assert [cell.state for cell in read(record.path).cells] == ["done"] * 2
    if how == signal.SIGKILL:
        assert cli.main([*command(flags), "--parallel=1", "--output_dir=straight"]) == 0
        assert runs("runs") == runs("straight")


def test_two_at_once_share_the_runs(flags: Flags) -> None:
    """The second one starts while the first trains: it takes the run that is free and waits for the other."""
    words = [*command(flags, epochs=60), "--parallel=1"]
    first = start("first", *words)
    wait_until(training(1))
    second = start("second", *words)
    assert [process.wait(SECONDS) for process in (first, second)] == [0, 0]
    said = [Path(f"{name}.out").read_text().splitlines()[-2:] for name in ("first", "second")]
    assert said[0] == said[1]
    for run in map(RunFolder, all_runs()):
        assert len(run.records("start")) == 1
        assert [one["epoch"] for one in run.records("train")] == list(range(60))
    assert [cell.state for cell in the_comparison().cells] == ["done"] * 2

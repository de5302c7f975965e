"""Searches as a user starts them, in processes of their own: several trials at once, interrupted, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from recbole_painvrl import cli
from recbole_painvrl.report.records import RunFolder
from tests.comparison.conftest import Flags
from tests.tuning.test_search import the_search, without_times

SCRIPT = Path(__file__).resolve().parents[2] / "run_recbole_painvrl.py"
SECONDS = 120
SPACE = "learning_rate choice [0.001, 0.002]\n"


def command(words: list[str]) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_training(epochs: int = 10) -> None:
    """Waits until a trial has trained for some epochs."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if any(len(RunFolder(path).records("train")) > epochs for path in Path("runs").glob("searches/*/trials/*")):
            return
        time.sleep(0.02)
    raise AssertionError("nothing has trained")


def long_search(flags: Flags) -> list[str]:
    Path("space.hyper").write_text(SPACE)
    keys = flags(epochs=80, stopping_step=80)
    return ["-m", "BPR", "-d", "board", *keys, "--params_file=space.hyper", "--algo=exhaustive"]


def test_killed_and_interrupted_it_goes_on_to_the_same_end(flags: Flags) -> None:
    words = long_search(flags)
    killed = command([*words, "--parallel=2"])
    wait_for_training()
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=SECONDS)
    path = the_search().path
    interrupted = command([f"--resume={path}", "--parallel=2"])
    wait_for_training(30)
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=SECONDS)
    assert interrupted.returncode == 130, errors
    assert f"continue with --resume={path}" in errors.splitlines()[-1]
    assert "interrupted" in {trial.state for trial in the_search().trials}
    assert cli.main([f"--resume={path}", "--parallel=1"]) == 0
    assert cli.main([*words, "--parallel=1", "--output_dir=straight"]) == 0
    assert without_times(the_search()) == without_times(the_search("straight"))
    starts = [len(RunFolder(the_search().folder(trial)).records("start")) for trial in the_search().trials]
    assert starts == [1, 1]


def test_side_by_side_is_one_after_the_other(flags: Flags) -> None:
    Path("space.hyper").write_text("learning_rate choice [0.01, 0]\nembedding_size choice [4, -1]\n")
    keys = [word for word in flags() if not word.startswith("--embedding_size")]
    words = ["-m", "BPR", "-d", "board", *keys, "--params_file=space.hyper", "--algo=exhaustive"]
    assert cli.main([*words, "--parallel=2", "--output_dir=double"]) == 0
    assert cli.main([*words, "--parallel=1", "--output_dir=single"]) == 0
    assert without_times(the_search("double")) == without_times(the_search("single"))
    record = the_search("double")
    assert [trial.state for trial in record.trials] == ["done", "failed", "failed", "failed"]
    assert "epoch 0 training" in (record.folder(record.trials[0]) / "output.log").read_text()
    lines = (record.path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 2, 3]

"""Runs started by ``--nproc``: a process that dies, signals, and ``torchrun`` in our place."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from recbole_painvrl import cli
from recbole_painvrl.errors import UserError
from recbole_painvrl.launch import Layout
from recbole_painvrl.report.records import RunFolder
from tests.endings import SECONDS, started
from tests.processes import together, words


def disturbed(folder: Path, disturb: Callable[[psutil.Process, list[psutil.Process]], Any]) -> tuple[int, str, Path]:
    """Starts a long run by ``--nproc=2`` and disturbs it once it trains; returns its status, last line and folder."""
    arguments = [*words(folder / "data", "MF", epochs=100_000, eval_step=0), f"--output_dir={folder}", "--nproc=2"]
    command = started(lambda: cli.main(arguments), folder / "output")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and not any(RunFolder(run).records("train") for run in folder.glob("board/*/*")):
        assert command.is_alive(), (folder / "output").read_text()
        time.sleep(0.1)
    parent = psutil.Process(command.pid)
    children = sorted(parent.children(), key=lambda child: child.environ()["RANK"])
    assert len(children) == 2
    disturb(parent, children)
    command.join(SECONDS)
    assert not any(child.is_running() for child in children)
    said = (folder / "output").read_text()
    assert "Traceback" not in said
    (run,) = folder.glob("board/*/*")
    return int(command.exitcode), said.splitlines()[-1], run


def test_a_process_that_is_killed_ends_the_run_in_one_line(tmp_path: Path) -> None:
    status, line, run = disturbed(tmp_path, lambda parent, children: children[1].kill())
    assert status == 2
    assert line == f"error: process 1 of 2 was ended by SIGKILL, and with it the run; continue with --resume={run}"


@pytest.mark.slow
def test_so_does_the_first(tmp_path: Path) -> None:
    status, line, run = disturbed(tmp_path, lambda parent, children: children[0].kill())
    assert status == 2
    assert line == f"error: process 0 of 2 was ended by SIGKILL, and with it the run; continue with --resume={run}"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_epoch_end_and_stores_it(tmp_path: Path, number: int, status: int) -> None:
    ended, line, run = disturbed(tmp_path, lambda parent, children: parent.send_signal(number))
    assert (ended, line) == (status, f"interrupted; continue with --resume={run}")
    assert RunFolder(run).last_model.exists()


@pytest.mark.slow
def test_nobody_goes_on_when_the_command_itself_is_killed(tmp_path: Path) -> None:
    status, _, run = disturbed(tmp_path, kill_and_wait)
    assert status == -signal.SIGKILL and not RunFolder(run).finished


def kill_and_wait(parent: psutil.Process, children: list[psutil.Process]) -> None:
    parent.kill()
    psutil.wait_procs(children, SECONDS)


@pytest.mark.slow
def test_torchrun_starts_the_processes_as_well(tmp_path: Path) -> None:
    arguments = words(tmp_path / "data", "MF")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    program = Path(cli.__file__).parents[1] / "run_recbole_painvrl.py"
    subprocess.run([*torchrun, str(program), *arguments, f"--output_dir={tmp_path}"], check=True, timeout=SECONDS)
    (run,) = (tmp_path / "board" / "MF").iterdir()
    assert RunFolder(run).finished
    assert together(1, [*arguments, f"--output_dir={tmp_path / 'one'}"], tmp_path) == [0]
    (one,) = (tmp_path / "one" / "board" / "MF").iterdir()
    valid = [RunFolder(folder).read_json("result.json")["best_valid_result"] for folder in (run, one)]
    assert valid[0] == pytest.approx(valid[1], abs=1e-6)


def test_processes_that_wait_for_others_are_ended_by_a_signal(tmp_path: Path) -> None:
    """The other machine is never started; nothing has begun, so nothing is left."""
    arguments = [*words(tmp_path / "data", "MF"), f"--output_dir={tmp_path}", "--nproc=1", "--world_size=2"]
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = started(lambda: cli.main([*arguments, f"--port={port}"]), tmp_path / "output")
    parent, deadline = psutil.Process(command.pid), time.monotonic() + SECONDS
    while time.monotonic() < deadline and not _listens(port):
        assert command.is_alive(), (tmp_path / "output").read_text()
        time.sleep(0.1)
    (child,) = parent.children()
    parent.send_signal(signal.SIGINT)
    command.join(SECONDS)
    said = (tmp_path / "output").read_text()
    assert command.exitcode == 130 and not child.is_running()
    assert f"waiting for 2 processes at localhost:{port}" in said and "Traceback" not in said
    assert not list(tmp_path.glob("board/*/*"))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--port=abc", "--port=abc: expected a whole number from 1 to 65535"),
        ("--port=0", "--port=0: expected"),
        ("--port=65536", "--port=65536: expected"),
        ("--ip=nowhere.invalid", "--ip=nowhere.invalid: there is no such address"),
        ("--nproc=0", "--nproc=0 from --group_offset=0 on is not within"),
        ("--group_offset=3", "--nproc=1 from --group_offset=3 on is not within"),
    ],
)
def test_a_place_that_cannot_be_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture, flag: str, message: str
) -> None:
    both = [] if flag.startswith(("--nproc", "--group")) else ["--nproc=2"]
    assert cli.main([*words(tmp_path / "data", "MF"), f"--output_dir={tmp_path}", *both, flag]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert message in line


def test_machines_have_to_fit_together() -> None:
    Layout(nproc=2).check()
    Layout(nproc=2, world_size=4, group_offset=2).check()
    for wrong in (Layout(nproc=0), Layout(2, 4, 3), Layout(2, -1, 1), Layout(2, 4, -1)):
        with pytest.raises(UserError, match="world_size"):
            wrong.check()

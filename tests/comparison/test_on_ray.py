"""The same runs on a Ray cluster of this machine's own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from recbole_painvrl import cli
from recbole_painvrl.comparison import on_ray
from recbole_painvrl.comparison.on_ray import connected
from recbole_painvrl.comparison.worker import one_line
from tests.comparison.conftest import Flags
from tests.comparison.test_compare import runs, the_comparison


@pytest.mark.slow
def test_on_ray_is_one_after_the_other_bit_for_bit(flags: Flags, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        ray.shutdown()
    except Exception as error:
        pytest.skip(f"Ray cannot start here: {error}")
    monkeypatch.setattr(on_ray, "usable_cores", lambda: 2)
    rounds = {"warmup_epochs": 1, "n_rounds": 1, "n_environments": 2, "env_max_iter": 2, "mask_steps": 3, "epochs": 3}
    words = [
        "-m",
        "PaInvRL,BPR,Pop",
        "-d",
        "board,broken",
        "--seeds=1",
        *flags(**rounds, feature_size=4, id_dropout=0.3),
    ]
    assert cli.main([*words, "--parallel=ray"]) == 1
    assert [cell.state for cell in the_comparison().cells] == ["done"] * 3 + ["failed"] * 3
    assert cli.main([*words, "--parallel=1", "--output_dir=single"]) == 1
    assert runs("runs") == runs("single")


def test_without_ray_it_is_told(flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["-m", "BPR,Pop", "-d", "board", *flags(), "--parallel=ray"]) == 2
    assert "--parallel=ray: Ray cannot be imported (import of ray halted" in capsys.readouterr().err


def test_workers_find_the_package_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(on_ray.__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", "before")
    with on_ray._importable_in_workers():
        assert os.environ["PYTHONPATH"] == f"{root}{os.pathsep}before"
    assert os.environ["PYTHONPATH"] == "before"
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(ZeroDivisionError), on_ray._importable_in_workers():
        raise ZeroDivisionError
    assert "PYTHONPATH" not in os.environ


def test_an_installation_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder would come before the standard library."""
    monkeypatch.setattr(on_ray, "__file__", "/usr/lib/python3/site-packages/recbole_painvrl/comparison/on_ray.py")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with on_ray._importable_in_workers():
        assert "PYTHONPATH" not in os.environ


def test_a_workers_error_is_one_plain_line() -> None:
    error = RuntimeError("\x1b[36mray::run()\x1b[39m failed\n    x = 1\n    ^^^^^\nno module")
    assert one_line(error) == "ray::run() failed x = 1 no module"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_ours_again_once_ray_has_started(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ray sets handlers of its own, and one in C, over which ours has to be set again even where Python has it."""

    def ours(*seen: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "ray", Mock(init=lambda **words: signal.signal(number, signal.SIG_IGN)))
    former = signal.signal(number, ours)
    try:
        connected(None, "--tool=Ray", "--tool=Hyperopt")
        assert signal.getsignal(number) is ours
    finally:
        signal.signal(number, former)

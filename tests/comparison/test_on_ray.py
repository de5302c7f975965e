"""The same runs on a Ray cluster of this machine's own."""

from __future__ import annotations

import sys

import pytest

from recbole_painvrl import cli
from recbole_painvrl.comparison import on_ray
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
    words = ["-m", "BPR,Pop", "-d", "board,broken", "--seeds=1", *flags()]
    assert cli.main([*words, "--parallel=ray"]) == 1
    assert [cell.state for cell in the_comparison().cells] == ["done", "done", "failed", "failed"]
    assert cli.main([*words, "--parallel=1", "--output_dir=single"]) == 1
    assert runs("runs") == runs("single")


def test_without_ray_it_is_told(flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["-m", "BPR,Pop", "-d", "board", *flags(), "--parallel=ray"]) == 2
    assert "--parallel=ray: Ray cannot be imported (import of ray halted" in capsys.readouterr().err

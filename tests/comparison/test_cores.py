"""How many runs at once: by cores, threads, devices and what the user asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_painvrl.comparison import cores


@pytest.mark.parametrize(
    ("threads", "n_runs", "asked", "devices", "expected"),
    [
        ("", 12, None, 0, (8, 1)),  # one a core
        ("", 3, None, 0, (3, 2)),  # few runs share all cores
        ("", 1, None, 0, (1, 8)),
        ("2", 12, None, 0, (4, 2)),  # OMP_NUM_THREADS is kept to
        ("1", 3, None, 0, (3, 1)),
        ("16", 12, None, 0, (1, 8)),
        ("", 12, 2, 0, (2, 4)),  # asked for
        ("", 12, 16, 0, (12, 1)),
        ("", 12, None, 2, (2, 4)),  # one a GPU
        ("", 12, 6, 2, (6, 1)),
        ("all", 12, None, 0, (8, 1)),
    ],
)
def test_shares(
    monkeypatch: pytest.MonkeyPatch,
    threads: str,
    n_runs: int,
    asked: int | None,
    devices: int,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert cores.shares(n_runs, asked, devices) == expected


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1)])
def test_a_container_s_share_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    assert cores.usable_cores() == 4
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cores.usable_cores() == expected

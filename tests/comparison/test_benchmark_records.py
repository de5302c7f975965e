"""Packed records are found done where they are unpacked, and say nothing of the machine they were made on."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from benchmarks.records import pack
from recbole_painvrl import cli
from tests.comparison.conftest import Flags


def test_a_comparison_goes_on_from_its_records(
    flags: Flags, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ["-m", "MF,ERM", "-d", "board", *flags(epochs=1), "--tune=2"]
    assert cli.main([*command, "--seeds=1,2"]) == 0
    table = capfd.readouterr().out
    (comparison,) = Path("runs", "comparisons").iterdir()
    target = tmp_path / "records" / "board.tar.xz"
    count = pack([comparison], target)
    first = target.read_bytes()
    assert pack([comparison, comparison], target) == count and target.read_bytes() == first

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with tarfile.open(target) as archive:
        names = archive.getnames()
        assert len(names) == count and not any(name.endswith((".pth", ".log")) for name in names)
        archive.extractall(elsewhere, filter="data")
    assert not any(str(Path.cwd()).encode() in path.read_bytes() for path in elsewhere.rglob("*.yaml"))
    shutil.copytree("data", elsewhere / "data")
    monkeypatch.chdir(elsewhere)
    assert cli.main([*command, "--seeds=1,2"]) == 0
    again = capfd.readouterr()
    assert again.out == table and "4 of 4 runs were done before" in again.err + again.out
    assert cli.main([*command, "--seeds=1,2,3"]) == 0
    assert "4 of 6 runs were done before" in capfd.readouterr().err
    assert len(list(Path("runs", "board").glob("*/*/done"))) == 6


def test_a_search_is_packed_with_its_finished_trials(flags: Flags, tmp_path: Path) -> None:
    assert cli.main(["-m", "MF", "-d", "board", *flags(epochs=1), "--tune=2", "--seeds=1"]) == 0
    (search,) = Path("runs", "searches").iterdir()
    assert pack([search], tmp_path / "whole.tar.xz") == 2 + 2 * 3
    (search / "trials" / "1" / "validation.json").unlink()
    assert pack([search], tmp_path / "part.tar.xz") == 2 + 3

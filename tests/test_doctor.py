"""The doctor tells what is there, what is broken and what mends it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_painvrl import doctor
from tests.inputs import forbid, write_checkerboard


@pytest.fixture
def no_imports(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Answers instead of the processes that import a part; code containing the key fails with the value."""
    failures: dict[str, str] = {}
    answer = lambda code: next((text for sign, text in failures.items() if sign in code), "")  # noqa: E731
    monkeypatch.setattr(doctor, "_failure", answer)
    return failures


def test_usable_core_and_sane_data(
    no_imports: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkerboard(tmp_path)
    assert doctor.run(tmp_path) == 0
    out = capsys.readouterr().out
    assert "core        usable" in out and "recbole       1.2.1" in out
    assert "scipy dok_matrix._update" in out and "threads" in out
    assert "board: invariant.ids, invariant.npy" in out and out.count("; sane") == 1


def test_broken_core(no_imports: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_imports["Config("] = "AttributeError: no"
    assert doctor.run(tmp_path / "none") == 1
    out = capsys.readouterr().out
    assert "NOT usable: AttributeError: no" in out and "does not exist" in out


@pytest.mark.parametrize(
    ("part", "problem", "command"),
    [
        ("tune", "ModuleNotFoundError: No module named 'pkg_resources'", 'pip install "setuptools<82"'),
        ("tune", "AttributeError: module 'numpy' has no attribute 'bool8'", 'pip install "numpy<2"'),
        ("report", "ModuleNotFoundError: No module named 'matplotlib'", 'pip install "recbole_painvrl[report]"'),
    ],
)
def test_missing_part_and_its_mending(
    part: str,
    problem: str,
    command: str,
    no_imports: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    no_imports[doctor.PARTS[part]] = problem
    assert doctor.run(tmp_path) == 0
    out = capsys.readouterr().out
    assert f"{part:<11} not usable: {problem}" in out and command in out


def test_problems_of_data_folders(
    no_imports: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = write_checkerboard(tmp_path)
    np.save(board.folder / "board" / "board.invariant.npy", np.zeros((3, 2)))
    (board.folder / "board" / "board.spurious.ids").unlink()
    (board.folder / "board" / "board.test.inter").write_text("user_id\n")
    (tmp_path / "empty").mkdir()
    doctor.run(tmp_path)
    out = capsys.readouterr().out
    assert "board.invariant.npy has the shape (3, 2), board.invariant.ids has 26 lines" in out
    assert "board.spurious.npy has no board.spurious.ids" in out
    assert "board.test.inter" in out and "user_id" in out
    assert "empty: no file of its name; PROBLEM: no empty.inter" in out


def test_files_that_cannot_be_read(
    no_imports: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkerboard(tmp_path).folder / "board"
    (folder / "board.invariant.ids").write_bytes("käse\n".encode("latin-1") * 26)
    forbid(monkeypatch, "board.train.inter")
    (tmp_path / "closed").mkdir()
    forbid(monkeypatch, "closed", "iterdir")
    assert doctor.run(tmp_path) == 0
    out = capsys.readouterr().out
    assert "board.invariant.ids: b'\\xe4' is not utf-8; save the file in utf-8" in out
    assert "board.train.inter: cannot be read (Permission denied); look at its permissions and owner" in out
    assert "closed: PROBLEM: " in out and "closed: cannot be read (Permission denied)" in out


def test_imports_are_tried_in_a_process_of_their_own() -> None:
    assert doctor._failure("import json, recbole_painvrl") == ""
    assert doctor._failure("import no_such_module") == "ModuleNotFoundError: No module named 'no_such_module'"
    assert doctor._failure("import os; os._exit(3)") == "the process ended with status 3"

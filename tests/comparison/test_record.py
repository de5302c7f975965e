"""``comparison.json``: written and read, named by its runs, and readable without RecBole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_painvrl.comparison.record import Cell, Record, comparison_folder, named_from, read
from recbole_painvrl.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
COMMAND = {"models": ["BPR"], "datasets": ["board"], "seeds": [1, 2], "config_files": [], "keys": {"epochs": "1"}}


def record(folder: Path) -> Record:
    cells = [Cell("BPR", "board", 1, "runs/board/BPR/1-a", "done"), Cell("BPR", "board", 2, "runs/board/BPR/2-b")]
    return Record(folder / "runs" / "comparisons" / "0a1b", COMMAND, cells)


def test_what_is_written_is_read(folder: Path) -> None:
    written = record(folder)
    written.write()
    assert read(written.path) == written
    content = json.loads((written.path / "comparison.json").read_text())
    assert (content["models"], content["datasets"], content["seeds"]) == (["BPR"], ["board"], [1, 2])
    assert content["cells"][1] == {
        "model": "BPR",
        "dataset": "board",
        "seed": 2,
        "folder": "runs/board/BPR/2-b",
        "state": "waiting",
        "error": None,
    }
    assert [path.name for path in written.path.iterdir()] == ["comparison.json"]


def test_folders_are_named_from_the_folder_that_holds_output_dir(folder: Path) -> None:
    one = record(folder)
    place = folder / "runs" / "board" / "BPR" / "1-a"
    assert named_from(one.path, place) == one.cells[0].folder
    assert one.run_folder(one.cells[0]) == place
    assert named_from(Path("runs/comparisons/0a1b"), Path("runs/board/BPR/1-a")) == one.cells[0].folder
    assert named_from(one.path, Path("/elsewhere/BPR/1-a")) == "/elsewhere/BPR/1-a"


def test_the_same_runs_have_the_same_folder() -> None:
    a, b = Path("runs/board/BPR/1-a"), Path("runs/board/BPR/2-b")
    assert comparison_folder("runs", [a, b]) == comparison_folder("runs", [b, a])
    assert comparison_folder("runs", [a, b]) != comparison_folder("runs", [a])
    assert comparison_folder("x", [Path("x/board/BPR/1-a")]).name == comparison_folder("runs", [a]).name


@pytest.mark.parametrize("content", ["", "[]", '{"cells": []}', '{"command": {}, "cells": [{"model": 1}]}'])
def test_a_damaged_file_is_told(folder: Path, content: str) -> None:
    (folder / "comparison.json").write_text(content)
    with pytest.raises(UserError, match=r"comparison.json: cannot be read .* expected the folder of a comparison"):
        read(folder)


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "runs").write_text("")
    with pytest.raises(UserError, match="output_dir: cannot write to"):
        record(folder).write()


def test_reading_needs_neither_recbole_nor_torch() -> None:
    code = "import sys, recbole_painvrl.comparison.record; print({'torch', 'recbole'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert answer.stdout == "set()\n"

"""What was made of other data is not taken for the same: digests, and the runs, comparisons and searches they guard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recbole_painvrl import cli
from recbole_painvrl.config import data_files
from recbole_painvrl.data import contents
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import configure, resume, run_recbole_painvrl
from recbole_painvrl.report.records import DATA
from tests.inputs import Board, write_checkerboard

QUICK = {"epochs": 1, "train_batch_size": 64, "embedding_size": 8}


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.chdir(tmp_path)
    return write_checkerboard(tmp_path / "data")


def another_encoder(board: Board) -> Path:
    """Other numbers in a feature file, whose size stays."""
    file = Path(board.folder, board.name, f"{board.name}.spurious.npy")
    np.save(file, np.load(file) + 1.0)
    return file


def flags(board: Board) -> list[str]:
    keys = {**QUICK, "data_path": str(board.folder), "show_progress": False}
    keys |= {"benchmark_filename": "[train,valid,test,test_ood]", "state": "error"}
    return [f"--{key}={value}" for key, value in keys.items()]


def test_a_finished_run_is_not_taken_for_one_of_other_features(board: Board) -> None:
    keys = board.config(**QUICK)
    run_recbole_painvrl("ERM", "board", config_dict=keys)
    (folder,) = Path("runs/board/ERM").iterdir()
    stored = json.loads((folder / DATA).read_text(encoding="utf-8"))
    assert {"board.train.inter", "board.item", "board.spurious.npy", "board.spurious.ids"} <= set(stored)
    another_encoder(board)
    with pytest.raises(UserError, match=r"was made of other data: board\.spurious\.npy changed since; choose another"):
        run_recbole_painvrl("ERM", "board", config_dict=keys)
    run_recbole_painvrl("ERM", "board", config_dict={**keys, "output_dir": "others"})


def test_nor_is_an_interrupted_one_gone_on_with(board: Board) -> None:
    run_recbole_painvrl("ERM", "board", config_dict=board.config(**QUICK))
    (folder,) = Path("runs/board/ERM").iterdir()
    (folder / "done").unlink()
    another_encoder(board)
    with pytest.raises(UserError, match="was made of other data"):
        resume(folder)


def test_runs_of_earlier_versions_are_still_found(board: Board, capsys: pytest.CaptureFixture) -> None:
    run_recbole_painvrl("ERM", "board", config_dict=board.config(**QUICK))
    (folder,) = Path("runs/board/ERM").iterdir()
    (folder / DATA).unlink()
    run_recbole_painvrl("ERM", "board", config_dict=board.config(**QUICK))
    assert "already done" in capsys.readouterr().out


def test_a_damaged_digest_is_told_in_one_line(board: Board) -> None:
    run_recbole_painvrl("ERM", "board", config_dict=board.config(**QUICK))
    (file,) = Path("runs/board/ERM").glob(f"*/{DATA}")
    for damage in ("", "[1]", "3"):
        file.write_text(damage, encoding="utf-8")
        with pytest.raises(UserError, match=r"data\.json: cannot be read .*delete .* to run again"):
            run_recbole_painvrl("ERM", "board", config_dict=board.config(**QUICK))


@pytest.mark.parametrize("more", [[], ["--tune=1"]], ids=["comparison", "tuned comparison"])
def test_a_comparison_says_so_before_it_begins(board: Board, capsys: pytest.CaptureFixture, more: list[str]) -> None:
    command = ["--model=ERM,MF", "--dataset=board", "--seeds=1", "--parallel=1", *flags(board), *more]
    assert cli.main(command) == 0
    changed = another_encoder(board)
    capsys.readouterr()
    assert cli.main(command) == 2
    assert f"{changed.name} changed since" in capsys.readouterr().err


def test_a_modality_may_lie_in_a_file_of_any_name(board: Board) -> None:
    folder = Path(board.folder, board.name)
    (folder / "feats").mkdir()
    for ending in ("npy", "ids"):
        (folder / f"board.spurious.{ending}").rename(folder / "feats" / f"clip.{ending}")
    keys = board.config(**QUICK, modalities={"clip": {"source": "npy", "file": "feats/clip.npy"}})
    named = data_files(configure("ERM", "board", config_dict=keys))
    assert {"feats/clip.npy", "feats/clip.ids", "board.train.inter"} <= set(named)
    run_recbole_painvrl("ERM", "board", config_dict=keys)
    wide = np.load(folder / "feats" / "clip.npy")
    np.save(folder / "feats" / "clip.npy", np.hstack([wide, wide]))
    with pytest.raises(UserError, match=r"feats/clip\.npy changed since"):
        run_recbole_painvrl("ERM", "board", config_dict=keys)


def test_a_large_file_is_looked_at_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "BLOCK", 16)
    monkeypatch.setattr(contents, "BLOCKS", 4)
    file, seen = tmp_path / "large", set()
    for place in (None, 0, 15, 335, 999, 1000):
        content = bytearray(1000 if place != 1000 else 1001)
        if place is not None and place < 1000:
            content[place] = 1
        file.write_bytes(content)
        contents._digest.cache_clear()
        seen.add(contents.data_contents({"large": file})["large"])
    assert len(seen) == 6

"""The published sets keep the counts of their descriptions, and RecBole reads what is written."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_painvrl.convert import add_arguments, convert, run
from recbole_painvrl.convert.summary import SplitCounts
from recbole_painvrl.errors import UserError


def test_tiktok(shared_data: Path, tmp_path: Path) -> None:
    summary = convert("csv", shared_data / "tiktok", "tiktok", tmp_path)
    assert (summary.users, summary.items, summary.interactions) == (9308, 6710, 68722)
    assert summary.splits == {
        "train": SplitCounts(59541, 9298, 6245),
        "valid": SplitCounts(3051, 3051, 1272, 193, 223, 5, 5),
        "test": SplitCounts(6130, 6130, 1855, 340, 449, 5, 5),
    }
    assert summary.modalities["visual"].norms == pytest.approx((29.8, 32.8, 49.4), abs=0.1)
    for letter, modality in (("v", "visual"), ("a", "acoustic")):
        source = np.load(shared_data / "tiktok" / f"{letter}_feat.npy")
        written = np.load(tmp_path / "tiktok" / f"tiktok.{modality}.npy")
        assert written.dtype == np.float16 and np.array_equal(written, source)


def test_tiktok_toy_keeps_items_without_interaction(shared_data: Path, tmp_path: Path) -> None:
    summary = convert("csv", shared_data / "tiktok-mmgcn-toy", "toy", tmp_path)
    assert (summary.users, summary.items, summary.interactions, summary.interacted_items) == (100, 1651, 1929, 1562)
    assert (summary.modalities["words"].rows, summary.modalities["words"].dimension) == (1651, 3746)
    lines = (tmp_path / "toy" / "toy.item").read_text().splitlines()
    assert len(lines) == 1652 and sum(len(line.split("\t")[1].split()) for line in lines[1:]) == 12950


def test_movielens_toy(shared_data: Path, tmp_path: Path) -> None:
    summary = convert("csv", shared_data / "movielens-mmgcn-toy", "toy", tmp_path)
    assert (summary.users, summary.items, summary.interactions, summary.interacted_items) == (100, 1141, 2071, 993)
    assert list(summary.modalities) == ["acoustic", "textual"]


@pytest.mark.parametrize("format", ["csv", "mmrec"])
def test_atomic_source_needs_no_conversion(shared_data: Path, tmp_path: Path, format: str) -> None:
    with pytest.raises(UserError, match="holds RecBole atomic files already"):
        convert(format, shared_data / "ml-100k", "ml-100k", tmp_path)


def test_command_line(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    source = str(shared_data / "tiktok")
    run(parser.parse_args(["csv", source, "--name", "tiktok", "--data_path", str(tmp_path)]))
    printed = capsys.readouterr().out
    assert "9,308 users, 6,710 items, 68,722 interactions" in printed
    assert "340 (449)" in printed and "29.8 / 32.8 / 49.4" in printed


def recbole_dataset(name: str, data_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Returns RecBole's own data set, built with the settings that were written."""
    from recbole.config import Config
    from recbole.data import create_dataset

    monkeypatch.setattr(sys, "argv", ["test"])
    settings = data_path / name / f"{name}.yaml"
    text = settings.read_text()
    plain = data_path / "plain.yaml"
    plain.write_text(text[: text.index("modalities:")])  # a key of our own
    config = Config("BPR", name, [str(plain)], {"data_path": str(data_path), "use_gpu": False})
    return create_dataset(config)


def test_recbole_reads_tiktok(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert("csv", shared_data / "tiktok", "tiktok", tmp_path)
    dataset = recbole_dataset("tiktok", tmp_path, monkeypatch)
    assert (dataset.user_num, dataset.item_num) == (9309, 6711)
    assert [len(part) for part in dataset.build()] == [59541, 3051, 6130]


def test_recbole_reads_words_and_metadata(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "interactions.csv").write_text("user,item,rating\n0,0,3\n1,2,4\n")
    (folder / "items.csv").write_text('item,title,year\n0,"A ""big"" one",1999\n1,Other,\n2,x,2000\n')
    (folder / "users.csv").write_text("user,job\n0,cook\n1,baker\n")
    (folder / "t_words.csv").write_text("item,word\n0,5\n0,7\n0,5\n2,7\n")
    convert("csv", folder, "tiny", tmp_path)
    dataset = recbole_dataset("tiny", tmp_path, monkeypatch)
    assert (dataset.user_num, dataset.item_num) == (3, 4)
    first = dataset.token2id("item_id", "0")
    words = dataset.item_feat["words"][first]
    assert list(dataset.id2token("words", words)) == ["5", "7", "5"]
    assert list(dataset.id2token("title", dataset.item_feat["title"][first])) == ["A", '"big"', "one"]

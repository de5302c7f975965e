"""Further sets and groups of a whole run, of a model of RecBole."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from recbole_painvrl import cli
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.report.records import RunFolder
from tests.inputs import Board, write_checkerboard, write_interactions


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.chdir(tmp_path)
    return write_checkerboard(tmp_path / "data")


def keys(board: Board, **more) -> dict:
    item = {"load_col": {**board.config()["load_col"], "item": ["item_id", "parity"]}}
    quick = {"epochs": 2, "embedding_size": 8, "topk": [3, 10], "valid_metric": "NDCG_hit@10"}
    return board.config(**item, **quick, metrics=["Recall", "NDCG", "NDCG_hit"], state="ERROR", **more)


def test_all_of_it_through_the_command_line(board: Board) -> None:
    write_interactions(board.folder, "board", board.test_ood, "valid_ood")
    files = ["train", "valid", "test", "test_ood", "valid_ood"]
    Path("keys.json").write_text(json.dumps(keys(board, benchmark_filename=files)))
    assert cli.main(["-m", "BPR", "-d", "board", "--config_files", "keys.json"]) == 0
    (path,) = Path("runs/board/BPR").iterdir()
    result, validations = RunFolder(path).read_json("result.json"), RunFolder(path).records("valid")
    assert set(result["test_results"]) == {"test", "test_ood"}
    tests = result["test_results"]
    assert result["gap"]["test_ood"]["ndcg_hit@3"] == pytest.approx(
        tests["test"]["ndcg_hit@3"] - tests["test_ood"]["ndcg_hit@3"]
    )
    parity = result["groups"]["test"]["parity"]
    assert {label: found["users"] for label, found in parity["groups"].items()} == {"even": 20, "odd": 20}
    mean = sum(found["recall@3"] for found in parity["groups"].values()) / 2
    assert mean == pytest.approx(tests["test"]["recall@3"], abs=2e-6)
    assert parity["worst"]["recall@3"] == min(found["recall@3"] for found in parity["groups"].values())
    assert all(record["environments"]["a"]["recall@3"] == record["result"]["recall@3"] for record in validations)
    assert all(set(record["valid_ood"]) == set(record["result"]) for record in validations)
    rows = list(csv.DictReader((path / "groups.csv").open()))
    assert {row["test_set"] for row in rows} == {"test", "test_ood"}


def test_an_unknown_grouping_is_refused_before_training(board: Board) -> None:
    with pytest.raises(UserError, match=r"no grouping 'popularty'.*Did you mean 'popularity'.*once load_col names it"):
        run_recbole_painvrl("BPR", "board", config_dict=keys(board, eval_groups=["popularty"]))


def test_no_groups_if_none_are_wanted(board: Board) -> None:
    result = run_recbole_painvrl("BPR", "board", config_dict=keys(board, eval_groups=[]))
    assert result["groups"] == {"test": {}, "test_ood": {}}


def test_sampled_candidates_have_groups_too(board: Board) -> None:
    settings = keys(board, eval_args={"mode": "uni5"}, eval_groups=["parity", "warm", "environment"])
    result = run_recbole_painvrl("BPR", "board", config_dict=settings)
    parity = result["groups"]["test"]["parity"]["groups"]
    assert (parity["even"]["pairs"], parity["odd"]["pairs"]) == (20, 20)
    mean = (parity["even"]["recall@3"] + parity["odd"]["recall@3"]) / 2
    assert mean == pytest.approx(result["test_results"]["test"]["recall@3"], abs=2e-6)


def test_items_without_features_are_apart(board: Board) -> None:
    lost = board.folder / "board" / "board.spurious.ids"
    lost.write_text(lost.read_text().replace("i0\n", "gone\n", 1))
    settings = keys(board, eval_groups=["missing"], train_batch_size=64)
    missing = run_recbole_painvrl("ERM", "board", config_dict=settings)["groups"]["test"]["missing"]["groups"]
    assert missing["without spurious"]["pairs"] == (board.test.item_id == "i0").sum()
    assert missing["complete"]["pairs"] == (board.test.item_id != "i0").sum()


def test_warm_and_cold_groups_equal_the_parts_evaluated_apart(board: Board) -> None:
    path = board.folder / "board" / "board.test.inter"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "\t".join(["u0", board.cold[0], *lines[1].split("\t")[2:]])]) + "\n")
    result = run_recbole_painvrl("BPR", "board", config_dict=keys(board))
    groups = result["groups"]["test"]["warm"]["groups"]
    assert groups == {part: pytest.approx(found) for part, found in result["test_groups"]["test"].items()}

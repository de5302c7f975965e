"""Top-k items by original token: what a user already has is hidden, the order is the score's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import cli
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.recommend import as_csv, recommend, write_csv
from tests.inputs import Board, write_checkerboard


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Path]:
    """BPR on the checkerboard, trained long enough to know the parities."""
    folder = tmp_path_factory.mktemp("recommend")
    board = write_checkerboard(folder)
    learned = {"epochs": 30, "train_batch_size": 64, "embedding_size": 16, "learning_rate": 0.05, "stopping_step": 30}
    run_recbole_painvrl("BPR", "board", config_dict=board.config(**learned, output_dir=str(folder / "runs")))
    (path,) = (folder / "runs" / "board" / "BPR").iterdir()
    return board, path


def seen(board: Board, user: str) -> set[str]:
    frames = (board.train, board.valid)
    return {item for frame in frames for item in frame.loc[frame["user_id"] == user, "item_id"]}


def test_the_withheld_items_come_first(trained: tuple[Board, Path]) -> None:
    board, path = trained
    lists = recommend(path, ["u4"], topk=2)
    withheld = {frame.loc[frame["user_id"] == "u4", "item_id"].item() for frame in (board.test, board.test_ood)}
    assert {one.item for one in lists} == withheld
    assert [one.rank for one in lists] == [1, 2]


def test_items_of_training_and_validation_are_hidden_and_the_rest_is_there(trained: tuple[Board, Path]) -> None:
    board, path = trained
    lists = recommend(path, ["u0", "u7"], topk=100)
    for user in ("u0", "u7"):
        items = [one.item for one in lists if one.user == user]
        assert set(items) == {f"i{item}" for item in range(26)} - seen(board, user)
        assert len(items) == len(set(items))


def test_scores_fall_along_a_list(trained: tuple[Board, Path]) -> None:
    scores = [one.score for one in recommend(trained[1], ["u1"], topk=10)]
    assert scores == sorted(scores, reverse=True)


def test_everybody_is_served_if_nobody_is_named(trained: tuple[Board, Path]) -> None:
    lists = recommend(trained[1], topk=3)
    assert len(lists) == 3 * 40
    assert {one.user for one in lists} == {f"u{user}" for user in range(40)}


@pytest.mark.parametrize("user", ["nobody", "[PAD]"])
def test_an_unknown_user_is_named(trained: tuple[Board, Path], user: str) -> None:
    with pytest.raises(UserError, match="there is no user"):
        recommend(trained[1], [user])


def test_no_item_is_no_list(trained: tuple[Board, Path]) -> None:
    with pytest.raises(UserError, match="--topk must be at least 1, but got 0"):
        recommend(trained[1], topk=0)


def test_the_csv_has_a_header_and_a_line_an_item(trained: tuple[Board, Path], tmp_path: Path) -> None:
    lists = recommend(trained[1], ["u2"], topk=2)
    write_csv(lists, tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "user,rank,item,score"
    assert [line.split(",")[:3] for line in lines[1:]] == [["u2", "1", lists[0].item], ["u2", "2", lists[1].item]]
    assert as_csv(lists).splitlines() == lines


def test_a_csv_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--output: cannot write"):
        write_csv([], tmp_path / "none" / "out.csv")


def test_users_are_told_apart_as_in_a_line_of_the_csv(
    trained: tuple[Board, Path], capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["recommend", str(trained[1]), '--users="u1",u2', "--topk=1"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["user", "u1", "u2"]


def test_a_user_who_has_every_item_is_named(
    trained: tuple[Board, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def seen_of(dataset: Any, parts: Sequence[Any]) -> list[Any]:
        full = dataset.token2id("user_id", "u4")
        return [range(dataset.item_num) if user == full else [] for user in range(dataset.user_num)]

    monkeypatch.setattr("recbole_painvrl.recommend.seen_items", seen_of)
    assert cli.main(["recommend", str(trained[1]), "--users=u4,u0,u4", "--topk=1"]) == 0
    said = capsys.readouterr()
    assert [line.split(",")[0] for line in said.out.splitlines()] == ["user", "u0"]
    line = "user u4: no unseen item is left; training and validation have all of them"
    assert [one for one in said.err.splitlines() if one.startswith("user ")] == [line]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (['--users="u,3",u1'], "there is no user 'u,3'"),
        (['--users="u ""3"""'], "there is no user 'u \"3\"'"),
        (["--users=u1", '--items="i,3"', "--explain"], "there is no item 'i,3'"),
        (["--users="], "--users: there is nothing after it; name tokens, as in --users=A,B, or leave --users out"),
        (["--users=u1", "--items=", "--explain"], "--items: there is nothing after it"),
        (
            ['--users="u,3'],
            "--users: cannot part '\"u,3' at its commas (unexpected end of data); give tokens, one with",
        ),
    ],
)
def test_lists_of_tokens(
    trained: tuple[Board, Path], words: list[str], complaint: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["recommend", str(trained[1]), *words]) == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]

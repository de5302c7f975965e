"""Runs and commands that split: only new items ranked, what is saved, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_painvrl import cli
from recbole_painvrl.config import Config
from recbole_painvrl.config_keys import RECBOLE_EXAMPLES
from recbole_painvrl.data.dataset import GeneralDataset, MultimodalDataset
from recbole_painvrl.data.preparation import data_preparation, further_test_loaders, further_validation_loaders
from recbole_painvrl.data.splits import command, save
from recbole_painvrl.data.splits.command import parse_settings, split_dataset
from recbole_painvrl.data.splits.save import save_split, split_name
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.utils import create_dataset
from tests.data.splitting import READY, sets_of
from tests.inputs import Board, write_interactions

# only new items


def loaders_of(name: str, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    resolved = Config("BPR", name, config_dict={"use_gpu": False, "show_progress": False, **config})
    dataset = create_dataset(resolved)
    train, valid, _ = data_preparation(resolved, dataset)
    further = further_validation_loaders(resolved, dataset, train, valid)
    return train, {**further_test_loaders(resolved, dataset, train, valid), **further}


@pytest.mark.parametrize("candidates", ["all", "new"])
def test_a_known_item_never_ranks_among_new_candidates(candidates: str, board: Board) -> None:
    settings = {"kind": "cold_items", "share": 0.3, "candidates": candidates}
    train, loaders = loaders_of(board.name, board.config(benchmark_filename=READY, ood_split=settings))
    known = torch.zeros(train._dataset.item_num, dtype=torch.bool)
    known[train._dataset.inter_feat["item_id"]] = True
    n_users = 0
    for users, (rows, items), positive_u, positive_i in loaders["test_ood"]:
        scores = torch.ones(len(users), len(known))
        scores[:, known] = 100.0
        scores[rows, items] = -torch.inf
        assert bool((scores[:, known] == -torch.inf).all()) == (candidates == "new")
        assert (scores[positive_u, positive_i] == 1).all()
        n_users += len(users)
    assert n_users > 10


def test_the_written_folder_ranks_new_items_only_too(board: Board) -> None:
    keys = {"benchmark_filename": json.dumps(READY), "data_path": str(board.folder)}
    split_dataset(board.name, "other", {"kind": "cold_items", "candidates": "new", "validation_share": 0.5}, keys)
    _, loaders = loaders_of("other", {"data_path": str(board.folder)})
    assert {type(loaders[name]).__name__ for name in ("test_ood", "valid_ood")} == {"NewItemsLoader"}


def test_the_written_folder_has_all_other_files_of_the_source(board: Board) -> None:
    source, config = board.folder / board.name, board.config()
    (source / "board.test_ood.inter").rename(source / "board.test_far.inter")
    rows = board.train.head(3).assign(item_id=board.cold[0])  # an item that training has not
    write_interactions(board.folder, board.name, rows, "test_new")
    (source / "truth.csv").write_text("modality,dimension,truth\n")
    (source / "split.json").write_text("of another split")
    config |= {"benchmark_filename": [*READY, "test_far", "test_new"], "test_candidates": {"test_new": "new"}}
    by_key, _ = sets_of(board.name, {**config, "ood_split": {"kind": "popularity"}})
    keys = {key: json.dumps(config[key]) for key in ("benchmark_filename", "test_candidates", "load_col")}
    folder, _ = split_dataset(board.name, "other", {"kind": "popularity"}, {**keys, "data_path": str(board.folder)})
    by_folder, dataset = sets_of("other", {"data_path": str(board.folder)})
    assert by_folder == by_key and list(by_folder) == list(by_key) == [*READY, "test_far", "test_new", "test_ood"]
    assert dataset.test_candidates == {"test_new": "new"}
    assert (folder / "truth.csv").read_text().startswith("modality")
    assert json.loads((folder / "split.json").read_text())["dataset"] == board.name


def test_a_further_set_that_has_the_name_of_a_first_one(board: Board) -> None:
    source = board.folder / board.name
    names = ["learn", "valid", "test", "train"]
    (source / "board.learn.inter").write_bytes((source / "board.train.inter").read_bytes())
    keys = {"benchmark_filename": json.dumps(names), "data_path": str(board.folder)}
    with pytest.raises(UserError, match="the further set 'train' would bear the name of one of the first three"):
        split_dataset(board.name, "other", {"kind": "popularity"}, keys)


def test_a_file_that_has_the_new_name_already(board: Board) -> None:
    keys = {"benchmark_filename": json.dumps(READY), "data_path": str(board.folder)}
    np.save(board.folder / board.name / "other.invariant.npy", np.eye(2))
    with pytest.raises(UserError, match=r"other\.invariant\.npy: .*; choose another --name"):
        split_dataset(board.name, "other", {"kind": "cold_items"}, keys)
    assert np.load(board.folder / board.name / "board.invariant.npy").shape == (26, 4)


def test_features_of_subfolders_stay_where_the_settings_name_them(board: Board) -> None:
    source, keys = board.folder / board.name, {"data_path": str(board.folder)}
    (source / "features").mkdir()
    for suffix in ("npy", "ids"):
        (source / f"board.invariant.{suffix}").rename(source / "features" / f"v.{suffix}")
    keys["modalities"] = json.dumps({"visual": {"source": "npy", "file": "features/v.npy"}})
    keys["benchmark_filename"] = json.dumps(READY)
    before = sets_of(board.name, {**keys, "ood_split": {"kind": "cold_items"}}, "ERM")[1].modalities["visual"]
    split_dataset(board.name, "other", {"kind": "cold_items"}, keys)
    after = sets_of("other", {"data_path": str(board.folder)}, "ERM")[1].modalities["visual"]
    rows = [{tuple(row) for row in modality.values.tolist()} for modality in (before, after)]
    assert rows[0] == rows[1] and len(rows[0]) > 20


@pytest.mark.parametrize("file", ["{folder}/board/board.invariant.npy", "../board/board.invariant.npy"])
def test_features_outside_of_the_folder_are_refused(file: str, board: Board) -> None:
    modalities = {"visual": {"source": "npy", "file": file.format(folder=board.folder)}}
    keys = {"benchmark_filename": json.dumps(READY), "data_path": str(board.folder)}
    with pytest.raises(UserError, match=r"modalities\.visual\.file: .* is not in the data folder; put the file there"):
        split_dataset(board.name, "other", {"kind": "cold_items"}, {**keys, "modalities": json.dumps(modalities)})
    assert [path.name for path in board.folder.iterdir()] == [board.name]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"test_candidates": {"test_odd": "new"}}, r"no test set 'test_odd' .*Did you mean 'test_ood'"),
        ({"test_candidates": {"test_ood": "old"}}, r"test_ood must be one of all, new"),
        (
            {"test_candidates": {"test_ood": "new"}},
            r"but 40 of its 40 interactions are with items that have a training",
        ),
        ({"test_candidates": {"test_ood": "new"}, "eval_args": {"mode": "uni10"}}, r"needs eval_args.mode full"),
    ],
)
def test_candidates_that_cannot_be(config: dict[str, Any], message: str, board: Board) -> None:
    with pytest.raises(UserError, match=message):
        loaders_of(board.name, board.config(**config))


# runs and the command line


def test_a_run_reports_and_saves_the_split(board: Board, tmp_path: Path) -> None:
    keys = board.config(benchmark_filename=READY, ood_split={"kind": "popularity", "share": 0.1}, epochs=1, topk=[5])
    result = run_recbole_painvrl("BPR", board.name, config_dict={**keys, "output_dir": str(tmp_path / "runs")})
    assert {"test", "test_ood"} <= set(result["test_results"])
    (folder,) = (tmp_path / "runs" / "splits").iterdir()
    assert folder.name.startswith("board-popularity-")
    names = {f"board.{part}.inter" for part in (*READY, "test_ood")}
    assert {path.name for path in folder.iterdir()} == names | {"split.json"}
    held = pd.read_csv(folder / "board.test_ood.inter", sep="\t")
    assert len(held) == round(0.1 * 440) and "session_id:token" in held
    other = {**keys, "output_dir": str(tmp_path / "runs"), "seed": 3}
    run_recbole_painvrl("BPR", board.name, config_dict=other)
    assert len(list((tmp_path / "runs" / "splits").iterdir())) == 1  # equal sets are stored once


def test_the_command_line(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    place = [f"--data_path={board.folder}", "--benchmark_filename=[train, valid, test]"]
    assert cli.main(["split", board.name, "--kind=cold_clusters", "--name=new", *place, "--clusters=3",
                     "--modality", "invariant", "--split_seed=5"]) == 0  # fmt: skip
    assert "test_ood" in capsys.readouterr().out
    written = json.loads((board.folder / "new" / "split.json").read_text())["settings"]
    assert written["seed"] == 5 and written["clusters"] == 3 and written["modality"] == "invariant"
    for more, message in {
        ("--kind=popularity", "--name=new"): "exists already",
        ("--kind=cold_clusters", "--name=x", "--modality=text"): "no 'text' (there are invariant, spurious)",
        ("--kind=colds", "--name=x"): "Did you mean 'cold_items'",
        ("--kind=time", "--name=x", "--shares=1"): "unknown key 'shares'",
        ("--kind=time", f"--name={board.name}"): "is the data set that is split",
        ("--kind=time",): "the following arguments are required: --name",
    }.items():
        assert cli.main(["split", board.name, *place, *more]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["split", board.name, *place, "--kind=popularity", "--name=new", "--overwrite"]) == 0


def test_options_of_the_split_and_of_the_configuration_are_told_apart() -> None:
    settings, keys = parse_settings("time", {"share": "0.1", "seed": "4", "data_path": "x"}, None)
    assert settings == {"kind": "time", "share": 0.1} and keys == {"seed": "4", "data_path": "x"}


@pytest.mark.parametrize(
    ("text", "values"),
    [("010", "010"), ("NO", "NO"), ("1_0", "1_0"), ("[1e3, null, '~']", ["1e3", "null", "~"]), ("~", None)],
)
def test_values_on_the_command_line_are_labels_as_they_are_written(text: str, values: Any) -> None:
    assert parse_settings("group", {"values": text}, None)[0] == {"kind": "group", "values": values}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("time", r"board.train.inter has no column 'timestamp' \(TIME_FIELD; there are user_id, item_id, session_id"),
        ({"kind": "group", "field": "session", "values": 1}, r"no column 'session' .*\.item: item_id, parity"),
        ({"kind": "cold_clusters", "clusters": 30}, r"30 clusters need .* there are 24; lower clusters"),
        ({"kind": "cold_clusters", "modalities": {"x": {"source": "npy"}}}, r"board\.x\.npy: there is no such file"),
        ({"kind": "popularity", "share": 0.9}, r"lower share or raise cap"),
    ],
)
def test_data_that_lack_what_a_kind_needs(settings: Any, message: str, board: Board) -> None:
    with pytest.raises(UserError, match=message):
        sets_of(board.name, board.config(benchmark_filename=READY, ood_split=settings))


def test_a_test_ood_that_is_there_already(board: Board) -> None:
    with pytest.raises(UserError, match="has a benchmark file test_ood already"):
        sets_of(board.name, board.config(ood_split="popularity"))


def test_features_that_are_not_there(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": np.repeat(range(10), 10), "item_id": np.tile(range(10), 10)})
    write_interactions(tmp_path, "plain", frame)
    with pytest.raises(UserError, match=r"needs item features, but .* has none"):
        sets_of("plain", {"data_path": str(tmp_path), "ood_split": "cold_clusters"})


def test_a_model_with_its_own_way_of_splitting_is_refused(timed: tuple[str, Path]) -> None:
    name, folder = timed
    with pytest.raises(UserError, match="GRU4Rec splits its data in its own way; write the sets by"):
        sets_of(name, {"data_path": str(folder), "ood_split": "time", "train_neg_sample_args": None}, "GRU4Rec")


@pytest.mark.parametrize("model", ["CKE", "LightGCN"])
def test_models_of_recbole_take_the_written_folder(model: str, tmp_path: Path) -> None:
    (tmp_path / "ml-100k").symlink_to(RECBOLE_EXAMPLES / "ml-100k")
    keys = {"data_path": str(tmp_path)}
    split_dataset("ml-100k", "other", {"kind": "cold_items", "candidates": "new"}, keys)
    columns = {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
    config = {"data_path": str(tmp_path), "load_col": {"inter": ["user_id", "item_id"], **columns}, "epochs": 1}
    config |= {"output_dir": str(tmp_path / "runs"), "show_progress": False, "train_batch_size": 4096}
    result = run_recbole_painvrl(model, "other", config_dict=config)
    assert 0 < result["test_results"]["test_ood"]["recall@20"] < 1


def test_without_the_key_nothing_changes(timed: tuple[str, Path], load: Callable) -> None:
    name, folder = timed
    for kind in (GeneralDataset, MultimodalDataset):
        dataset = load(name, {"data_path": str(folder)}, kind)
        parts = dataset.build()
        assert dataset.ood_split is None and dataset.further_tests == {} and sum(map(len, parts)) == 600
        assert parts[0].inter_feat.columns == ["user_id", "item_id"]


# what cannot be written


def cold_split(board: Board) -> Any:
    config = board.config(benchmark_filename=READY, ood_split={"kind": "cold_items"})
    dataset = create_dataset(Config("BPR", board.name, config_dict={"use_gpu": False, **config}))
    dataset.build()
    return dataset.ood_split


def test_a_split_that_cannot_be_saved_is_told(board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"board-cold_items-\w+: cannot be written \(.+\); choose another output_dir"):
        save_split(cold_split(board), tmp_path / "file")


@pytest.mark.parametrize("first", [True, False])
def test_another_run_may_save_the_same_split_meanwhile(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    split, parent = cold_split(board), tmp_path / "splits"
    parent.mkdir()

    def write(split: Any, partial: Path, name: str) -> None:
        (partial / "sets").write_text("ours")
        if first:
            (parent / split_name(split)).mkdir()
            (parent / split_name(split) / "sets").write_text("theirs")
        else:
            raise UserError("row 3 is at fault")

    monkeypatch.setattr(save, "write_sets", write)
    if first:
        assert (save_split(split, parent) / "sets").read_text() == "theirs"
    else:
        with pytest.raises(UserError, match="row 3"):
            save_split(split, parent)
        assert not list(parent.iterdir())


def test_the_command_tells_what_it_cannot_write(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"benchmark_filename": json.dumps(READY), "data_path": str(board.folder)}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "write_sets", full)
    with pytest.raises(UserError, match=r"other: cannot be written \(No space left on device\)"):
        split_dataset(board.name, "other", {"kind": "cold_items"}, keys)
    assert not (board.folder / "other").exists()


def test_the_command_tells_what_it_cannot_read(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(command.shutil, "copyfile", deny)
    keys = {"benchmark_filename": json.dumps(READY), "data_path": str(board.folder)}
    with pytest.raises(UserError, match=r"board\.invariant\.ids: cannot be read \(Permission denied\)"):
        split_dataset(board.name, "other", {"kind": "cold_items"}, keys)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a/b", "is no plain name"), ("board", "is the data set that is split"), ("taken", "exists already")],
)
def test_names_that_cannot_be_given(name: str, message: str, board: Board) -> None:
    (board.folder / "taken").mkdir()
    with pytest.raises(UserError, match=message):
        split_dataset(board.name, name, {"kind": "cold_items"}, {"data_path": str(board.folder)})


def test_matrices_are_copied_where_they_cannot_be_linked(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"benchmark_filename": json.dumps(READY), "data_path": str(board.folder)}
    np.save(board.folder / board.name / "seen.npy", np.eye(3, dtype=np.float32))

    def another_disk(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(command.os, "link", another_disk)
    keys["modalities"] = json.dumps({"visual": {"file": "seen.npy"}})
    split_dataset(board.name, "other", {"kind": "cold_items"}, keys)
    assert np.array_equal(np.load(board.folder / "other" / "seen.npy"), np.eye(3))


def test_options_that_are_no_yaml_are_refused() -> None:
    with pytest.raises(UserError, match=r"--share: cannot read '\[1'"):
        parse_settings("cold_items", {"share": "[1"}, None)
    with pytest.raises(UserError, match=r"--values: cannot read '\[a'"):
        parse_settings("group", {"values": "[a"}, None)
    with pytest.raises(UserError, match="--values: cannot read"):
        parse_settings("group", {"values": "[" * 5000}, None)


@pytest.mark.parametrize("text", ["[a, [b]]", "{a: b}", "[{a: b}]", "# nothing"])
def test_values_are_one_label_or_a_list_of_labels(text: str) -> None:
    with pytest.raises(UserError, match="--values: expected a label or a list of labels, found"):
        parse_settings("group", {"values": text}, None)

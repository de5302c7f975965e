"""The key ``ood_split`` and the command ``split`` make equal sets, from real files, for every model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.compat import DatasetRepairs
from recbole_painvrl.data.splits.command import split_dataset
from recbole_painvrl.data.splits.settings import KINDS
from recbole_painvrl.errors import UserError
from tests.data.splitting import READY, assert_disjoint, sets_of, settings_of
from tests.inputs import Board, write_interactions


@pytest.mark.parametrize("kind", KINDS)
def test_key_and_command_agree_where_recbole_splits_the_rest(kind: str, timed: tuple[str, Path]) -> None:
    name, folder = timed
    settings = settings_of(kind, validation_share=0.3)
    if kind == "group":
        settings |= {"field": "genres", "values": ["g2"]}
    config = {"data_path": str(folder), "seed": 11}
    by_key, dataset = sets_of(name, {**config, "ood_split": settings})
    assert_disjoint(by_key)
    assert by_key["test_ood"] and by_key["valid_ood"]
    assert sum(map(len, by_key.values())) + sum(dataset.ood_split.dropped.values()) == 600
    keys = {key: str(value) for key, value in config.items()}
    written, split = split_dataset(name, "other", settings, keys)
    by_folder, loaded = sets_of("other", {"data_path": str(folder)}, "ERM")
    assert by_folder == by_key and list(loaded.modalities) == ["audio", "visual"]
    assert json.loads((written / "split.json").read_text())["sets"] == split.statistics
    assert split.statistics == dataset.ood_split.statistics


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"time"}))
def test_key_and_command_agree_on_ready_sets(kind: str, board: Board) -> None:
    config = board.config(benchmark_filename=READY)
    by_key, _ = sets_of(board.name, {**config, "ood_split": settings_of(kind)}, "ERM")
    assert_disjoint(by_key)
    keys = {key: json.dumps(value) for key, value in config.items() if key != "data_path"}
    split_dataset(board.name, "other", settings_of(kind), {**keys, "data_path": str(board.folder)})
    assert sets_of("other", {"data_path": str(board.folder)})[0] == by_key


@pytest.mark.parametrize("model", ["BPR", "ERM", "PaInvRL"])
@pytest.mark.parametrize("kind", ["cold_clusters", "group"])
def test_the_split_depends_on_its_own_seed_alone(kind: str, model: str, timed: tuple[str, Path]) -> None:
    """Not on the run's seed, on the model, on the columns that are loaded, nor on the features the model uses."""
    name, folder = timed
    config = {"data_path": str(folder), "load_col": None}
    settings = settings_of(kind) if kind != "group" else {"kind": "group", "field": "gender", "values": "F"}
    reference, _ = sets_of(name, {**config, "seed": 1, "ood_split": settings})
    inter = {"load_col": {"inter": ["user_id", "item_id"]}, "modalities": {} if model == "ERM" else None}
    other, _ = sets_of(name, {**config, **inter, "seed": 2, "ood_split": settings}, model)
    assert other["test_ood"] == reference["test_ood"] and other["train"] != reference["train"]
    another, _ = sets_of(name, {**config, "ood_split": {**settings, "seed": 7}})
    assert another["test_ood"] != reference["test_ood"]


@pytest.mark.parametrize("kind", ["cold_items", "cold_clusters"])
def test_cold_items_are_in_no_other_set_but_in_the_vocabulary(kind: str, timed: tuple[str, Path]) -> None:
    name, folder = timed
    sets, dataset = sets_of(name, {"data_path": str(folder), "ood_split": settings_of(kind, validation_share=0.5)})
    items = {part: {item for _, item in pairs} for part, pairs in sets.items()}
    known = items["train"] | items["valid"] | items["test"]
    assert (
        not known & items["test_ood"] and not known & items["valid_ood"] and not items["test_ood"] & items["valid_ood"]
    )
    assert dataset.item_num == 41


def test_rare_clusters_stay_known_where_cold_clusters_do_not(timed: tuple[str, Path]) -> None:
    name, folder = timed
    data = {}
    for kind in ("feature_cluster", "cold_clusters"):
        _, data[kind] = sets_of(name, {"data_path": str(folder), "ood_split": settings_of(kind)})
    rare, cold = (data[kind].ood_split for kind in ("feature_cluster", "cold_clusters"))
    assert rare.details == cold.details
    assert rare.statistics["test_ood"]["cold_pairs"] < 0.2 and cold.statistics["test_ood"]["cold_pairs"] == 1
    assert rare.statistics["test_ood"]["mean_popularity"] < rare.statistics["test"]["mean_popularity"] / 2


def test_held_out_users_keep_some_training(timed: tuple[str, Path]) -> None:
    name, folder = timed
    settings = {"kind": "group", "field": "gender", "values": ["F"]}
    sets, dataset = sets_of(name, {"data_path": str(folder), "ood_split": settings})
    assert {int(user[1:]) % 2 for user, _ in sets["test_ood"]} == {0}
    assert dataset.ood_split.statistics["test_ood"]["users"] == 25 and not dataset.ood_split.dropped
    with pytest.raises(UserError, match=r"test_ood is empty .*cold_users: keep"):
        sets_of(name, {"data_path": str(folder), "ood_split": {**settings, "keep": 0}})


def test_times_are_compared_as_the_file_has_them(timed: tuple[str, Path]) -> None:
    """A float32 of a Unix time is off by up to a minute."""
    name, folder = timed
    sets, _ = sets_of(name, {"data_path": str(folder), "ood_split": {"kind": "time", "share": 0.1}})
    frame = pd.read_csv(folder / name / f"{name}.inter", sep="\t")
    times = dict(zip(zip(frame["user_id:token"], frame["item_id:token"]), frame["timestamp:float"], strict=True))  # noqa: B905
    known = [times[pair] for part in READY for pair in sets[part]]
    assert min(times[pair] for pair in sets["test_ood"]) > max(known) and len(sets["test_ood"]) == 60


@pytest.mark.parametrize(("field", "label"), [("parity", "even"), ("environment", "b")])
def test_quoted_labels_are_those_that_recbole_loads(field: str, label: str, board: Board) -> None:
    config = board.config(benchmark_filename=READY, load_col=None)
    settings = {"kind": "group", "field": field, "keep": 0.2}
    expected, _ = sets_of(board.name, {**config, "ood_split": {**settings, "values": label}})
    for file in (board.folder / board.name).glob("*.i*e*"):
        file.write_text(file.read_text().replace(f"\t{label}\n", '\t"7"" live"\n'))
    settings["values"] = '7" live'
    found, dataset = sets_of(board.name, {**config, "ood_split": settings})
    assert found == expected and '7" live' in dataset.field2id_token[field]
    keys = {key: json.dumps(value) for key, value in config.items() if key != "data_path"}
    split_dataset(board.name, "other", settings, {**keys, "data_path": str(board.folder)})
    found, loaded = sets_of("other", {"data_path": str(board.folder)})
    assert found == expected and '7" live' in loaded.field2id_token[field]


BY_TIME = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"}


@pytest.mark.parametrize("kind", [None, "popularity"])
def test_the_last_of_a_user_is_the_test_however_near_the_others_are(kind: str | None, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}", 1_600_000_000 + 9 * k) for u in range(20) for k, i in enumerate(draw.permutation(9))]
    frame = pd.DataFrame(sorted(rows), columns=["user_id", "item_id", "timestamp"])
    write_interactions(tmp_path, "near", frame)
    config = {"data_path": str(tmp_path), "ood_split": kind, "eval_args": BY_TIME}
    config["load_col"] = {"inter": ["user_id", "item_id", "timestamp"]}
    sets, dataset = sets_of("near", config)
    left = {pair for part in READY for pair in sets[part]}
    last = frame[[pair in left for pair in zip(frame.user_id, frame.item_id, strict=True)]]
    last = last.sort_values("timestamp").groupby("user_id").tail(1)
    assert sets["test"] == set(zip(last.user_id, last.item_id, strict=True))
    if kind:
        keys = {key: json.dumps(config[key]) for key in ("eval_args", "load_col")}
        _, split = split_dataset("near", "other", {"kind": kind}, {**keys, "data_path": str(tmp_path)})
        assert sets_of("other", {"data_path": str(tmp_path)})[0] == sets
        assert split.statistics == dataset.ood_split.statistics


def test_times_that_float32_tells_apart_are_left_to_recbole(
    timed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = timed
    file = folder / name / f"{name}.inter"
    frame = pd.read_csv(file, sep="\t")
    frame["timestamp:float"] = frame["timestamp:float"] // 10_000 - 88_125  # with ties
    frame.to_csv(file, sep="\t", index=False)
    config = {"data_path": str(folder), "eval_args": BY_TIME, "load_col": None, "ood_split": "popularity"}
    sets, _ = sets_of(name, config)
    monkeypatch.delattr(DatasetRepairs, "_change_feat_format")
    assert sets_of(name, config)[0] == sets


@pytest.mark.parametrize(
    "settings", [{"kind": "time", "share": 0.1}, {"kind": "group", "field": "rating", "values": 1}]
)
def test_rows_of_nothing_do_not_move_the_others(settings: dict[str, Any], timed: tuple[str, Path]) -> None:
    name, folder = timed
    config = {"data_path": str(folder), "ood_split": settings}
    expected, _ = sets_of(name, config)
    file = folder / name / f"{name}.inter"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], "\t\t\t", *lines[1:9], "", "\t\t\t", *lines[9:], "", ""]))
    assert sets_of(name, config)[0] == expected
    split_dataset(name, "other", settings, {"data_path": str(folder)})
    assert sets_of("other", {"data_path": str(folder)})[0] == expected


def test_environment_column(board: Board) -> None:
    config = board.config(benchmark_filename=READY, load_col={"inter": ["user_id", "item_id"]})
    settings = {"kind": "environment", "field": "environment", "values": "b"}
    sets, dataset = sets_of(board.name, {**config, "ood_split": settings})
    held = board.train[board.train.environment == "b"]
    assert sets["test_ood"] == set(zip(held.user_id, held.item_id, strict=True))
    assert dataset.ood_split.details["held_out"] == ["b"]


def test_filters_come_before_the_split(timed: tuple[str, Path]) -> None:
    name, folder = timed
    config = {"val_interval": {"rating": "[3,inf)"}, "rm_dup_inter": "first", "load_col": None}
    sets, _ = sets_of(name, {**config, "data_path": str(folder), "ood_split": "popularity"})
    frame = pd.read_csv(folder / name / f"{name}.inter", sep="\t")
    good = frame[frame["rating:float"] >= 3]
    assert set().union(*sets.values()) == set(zip(good["user_id:token"], good["item_id:token"], strict=True))
    keys = {"val_interval": '{"rating": "[3,inf)"}', "rm_dup_inter": "first", "load_col": "~"}
    split_dataset(name, "other", {"kind": "popularity"}, {**keys, "data_path": str(folder)})
    assert sets_of("other", {"data_path": str(folder)})[0] == sets


# real data


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"group"}))
def test_movielens(kind: str) -> None:
    sets, dataset = sets_of("ml-100k", {"ood_split": kind})
    assert_disjoint(sets)
    assert sum(map(len, sets.values())) + sum(dataset.ood_split.dropped.values()) == 100_000
    found = dataset.ood_split.statistics
    if kind == "popularity":
        counts = np.unique([item for _, item in sets["test_ood"]], return_counts=True)[1]
        before = np.unique([item for pairs in sets.values() for _, item in pairs], return_counts=True)[1]
        assert counts.std() / counts.mean() < 0.5 * before.std() / before.mean()
        assert found["test_ood"]["mean_popularity"] < 0.5 * found["test"]["mean_popularity"]


def test_tiktok(shared_data: Path, tmp_path: Path) -> None:
    from recbole_painvrl.convert import convert

    convert("csv", shared_data / "tiktok", "tiktok", tmp_path)
    for kind in ("popularity", "cold_items", "cold_clusters"):
        sets, dataset = sets_of("tiktok", {"data_path": str(tmp_path), "ood_split": kind})
        assert_disjoint(sets)
        assert sum(map(len, sets.values())) + sum(dataset.ood_split.dropped.values()) == 68722
        assert dataset.ood_split.statistics["test_ood"]["cold_users"] == 0

"""Data sets: parts, further test sets, warm and cold, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recbole.utils.argument_list import dataset_arguments

from recbole_painvrl.config import Config
from recbole_painvrl.data.atomic import AtomicFormat, check_rows, read_header
from recbole_painvrl.data.dataset import GeneralDataset, split_warm_cold
from recbole_painvrl.errors import UserError
from recbole_painvrl.utils import create_dataset, data_preparation
from tests.inputs import Board, forbid, write_features, write_interactions


def pairs(dataset: GeneralDataset) -> set[tuple[str, str]]:
    """Returns the (user, item) tokens of a built part."""
    users = dataset.id2token("user_id", dataset.inter_feat["user_id"].numpy())
    items = dataset.id2token("item_id", dataset.inter_feat["item_id"].numpy())
    return set(zip(users.tolist(), items.tolist(), strict=True))


def test_each_benchmark_file_becomes_its_part(board: Board, load: Callable) -> None:
    dataset = load(board.name, board.config())
    parts = dataset.build()
    assert len(parts) == 3 and list(dataset.further_tests) == ["test_ood"]
    expected = [board.train, board.valid, board.test, board.test_ood]
    for part, frame in zip([*parts, dataset.further_tests["test_ood"]], expected, strict=True):
        assert pairs(part) == set(zip(frame.user_id, frame.item_id, strict=True))
        assert len(part) == len(frame)


def test_cold_items_of_the_item_file_are_in_the_vocabulary(board: Board, load: Callable) -> None:
    dataset = load(board.name, board.config())
    assert dataset.item_num == 27 and set(board.cold) <= set(dataset.field2id_token["item_id"])
    assert load(board.name, board.config(load_col={"inter": ["user_id", "item_id"]})).item_num == 25


def test_columns_of_the_interactions_stay_aligned(board: Board, load: Callable) -> None:
    train = load(board.name, board.config()).build()[0]
    columns = {f: train.id2token(f, train.inter_feat[f].numpy()).tolist() for f in board.train.columns}
    assert pd.DataFrame(columns).equals(board.train)


def test_splits_of_recbole_without_benchmark_files(tmp_path: Path, load: Callable) -> None:
    frame = pd.DataFrame({"user_id": np.repeat(range(10), 10), "item_id": np.tile(range(10), 10)})
    write_interactions(tmp_path, "plain", frame)
    config = {"data_path": str(tmp_path), "eval_args": {"split": {"RS": [8, 1, 1]}, "group_by": "user", "order": "RO"}}
    dataset = load("plain", config)
    assert dataset.modalities == {}
    assert [len(part) for part in dataset.build()] == [80, 10, 10] and dataset.further_tests == {}


def test_warm_and_cold_part_the_test_set(board: Board, load: Callable) -> None:
    more = pd.DataFrame({"user_id": ["u0", "u1"], "item_id": ["i24", "i25"], "session_id": "s", "environment": "a"})
    write_interactions(board.folder, board.name, pd.concat([board.test, more]), "test")
    train, _, test = load(board.name, board.config()).build()
    parts = split_warm_cold(train, test)
    assert pairs(parts["cold"]) == {("u0", "i24"), ("u1", "i25")}
    assert pairs(parts["warm"]) == set(zip(board.test.user_id, board.test.item_id, strict=True))
    assert len(test) == 42 and parts["cold"].item_num == test.item_num


def test_nothing_to_part_without_cold_items(board: Board, load: Callable) -> None:
    train, _, test = load(board.name, board.config()).build()
    assert split_warm_cold(train, test) == {}


def test_modalities_count_in_the_cache_check() -> None:
    assert dataset_arguments.count("modalities") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"train\.inter: the file is empty"),
        ("user_id:token\titem_id:token\n", r"train\.inter: there is no row"),
        ("user_id:token\titem_id:tokn\nu\ti\n", r"line 1: the column 'item_id:tokn'.*'token'"),
        ("user_id\titem_id\nu\ti\n", r"line 1: the column 'user_id'"),
        ("user_id:token\tuser_id:token\nu\ti\n", r"line 1: the column 'user_id' is there twice"),
        ("user_id:token\titem:token\nu\ti\n", r"line 1: no column item_id:token .*item:token"),
        ("user_id:token,item_id:token\nu,i\n", r"line 1: no column user_id:token|line 1: the column"),
        ("user_id:token\titem_id:token\nu\ti\nu\ti\tx\n", r"line 3: 3 columns where the header names 2"),
        ("user_id:token\titem_id:token\nu\ti\n\nu\nv\n", r"line 4: 1 columns .*2 such rows"),
        ("user_id:token\titem_id:token\nu\ti\nu\t\n", r"row 2 below the header: item_id is empty"),
        ('user_id:token\titem_id:token\n"u"\ti\nu\t"j\nv\ti"\n', r"line 3: a cell that starts with a quotation mark"),
        ('user_id:token\titem_id:token\nu\t"i\nv\ti"\n', r"line 2: a cell that starts with a quotation mark"),
        (
            "user_id:token\titem_id:token\trating:float\nu\ti\t1\nu\tj\tgood\n",
            r"line 3, column rating: 'good' is not a",
        ),
    ],
)
def test_malformed_interactions_are_refused(board: Board, load: Callable, content: str, message: str) -> None:
    (board.folder / board.name / f"{board.name}.train.inter").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load(board.name, board.config(load_col=None))
    assert "\n" not in str(error.value)


def test_windows_line_ends_and_a_missing_last_line_end_are_fine(board: Board, load: Callable) -> None:
    path = board.folder / board.name / f"{board.name}.train.inter"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    assert len(load(board.name, board.config()).build()[0]) == len(board.train)


def test_a_byte_order_mark_is_no_part_of_the_first_column(board: Board, load: Callable) -> None:
    expected = load(board.name, board.config()).build()
    for suffix in ("train.inter", "test_ood.inter", "item"):
        file = Path(board.folder, board.name, f"{board.name}.{suffix}")
        file.write_text(file.read_text(), encoding="utf-8-sig")
    found = load(board.name, board.config()).build()
    assert [pairs(part) for part in found] == [pairs(part) for part in expected]


def test_rows_that_cannot_be_read_are_told(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    path, form = board.folder / "board" / "board.train.inter", AtomicFormat()
    columns = read_header(path, form)
    forbid(monkeypatch, path.name)
    for read in (lambda: read_header(path, form), lambda: check_rows(path, form, len(columns))):
        with pytest.raises(UserError, match=r"board\.train\.inter: cannot be read \(Permission denied\)"):
            read()


def test_missing_files_are_named(board: Board, load: Callable) -> None:
    with pytest.raises(UserError, match=re.escape("board.later.inter") + ".*found board.test.inter"):
        load(board.name, board.config(benchmark_filename=["train", "valid", "test", "later"]))
    with pytest.raises(UserError, match=r"board\.inter: there is no such file .*benchmark_filename"):
        load(board.name, board.config(benchmark_filename=None))


@pytest.mark.parametrize("names", [["train", "test"], ["train", "valid", "valid"], "train"])
def test_benchmark_names_are_checked(board: Board, load: Callable, names: object) -> None:
    with pytest.raises(UserError, match="benchmark_filename"):
        load(board.name, board.config(benchmark_filename=names))


def test_real_metadata_of_movielens(load: Callable) -> None:
    modalities = {
        "title": {"source": "text", "field": "movie_title", "dimension": 64},
        "genres": {"source": "tags", "field": "class"},
        "year": {"source": "number", "field": "release_year"},
    }
    dataset = load("ml-100k", {"modalities": modalities})
    assert [modality.dimension for modality in dataset.modalities.values()] == [64, 19, 8]
    item = dataset.token2id("item_id", "1")
    genres = dataset.modalities["genres"]
    told = {genres.names[i] for i in np.flatnonzero(genres.values[item])}
    assert told == {"Animation", "Children's", "Comedy"}
    assert all(np.isfinite(modality.values).all() for modality in dataset.modalities.values())


def test_quoted_tags_are_those_that_recbole_loads(board: Board, load: Callable) -> None:
    file = board.folder / board.name / f"{board.name}.item"
    lines = file.read_text().replace("\teven", '\t"12"" pop ""live"""').replace("\todd", '\t7" "pop"').splitlines()
    file.write_text("\n".join([lines[0].replace("parity:token", "parity:token_seq"), *lines[1:], ""]))
    modalities = {"tags": {"source": "tags", "field": "parity"}}
    dataset = load(board.name, board.config(load_col=None, modalities=modalities))
    assert set(dataset.modalities["tags"].names) == set(dataset.field2id_token["parity"][1:])
    assert set(dataset.modalities["tags"].names) == {'12"', "pop", '"live"', '7"', '"pop"'}


def test_feature_rows_follow_their_tokens(board: Board, load: Callable) -> None:
    dataset = load(board.name, board.config())
    assert list(dataset.modalities) == ["invariant", "spurious"]
    tokens = dataset.field2id_token["item_id"][1:]
    even = np.array([int(token[1:]) % 2 == 0 for token in tokens])
    agreeing = np.array([int(token[1:]) < 16 for token in tokens])
    assert ((dataset.modalities["invariant"].values[1:, 0] > 0) == even).all()
    assert ((dataset.modalities["spurious"].values[1:, 0] > 0) == (even == agreeing)).all()


def test_the_order_of_the_feature_file_does_not_matter(board: Board, load: Callable) -> None:
    tokens = [f"i{i}" for i in range(26)]
    values = np.random.default_rng(1).normal(size=(26, 3)).astype(np.float16)
    loaded = []
    for order in (np.arange(26), np.random.default_rng(2).permutation(26)):
        write_features(board.folder, board.name, "invariant", [tokens[i] for i in order], values[order])
        loaded.append(load(board.name, board.config(modalities=["invariant"])).modalities["invariant"].values)
    assert np.array_equal(*loaded)


def test_labels_are_needed_where_they_are_judged_by(board: Board) -> None:
    keys = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}}
    config = Config("BPR", board.name, config_dict=board.config(**keys))
    with pytest.raises(UserError, match=r"labeled needs a column 'label' \(LABEL_FIELD\) .* there are only user_id"):
        data_preparation(config, create_dataset(config))

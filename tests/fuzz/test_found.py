"""What the fuzz suite has found, each fault with the smallest input that showed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.config import Config
from recbole_painvrl.config_data_checks import is_intervals
from recbole_painvrl.config_keys import read_yaml
from recbole_painvrl.convert import convert
from recbole_painvrl.convert.tables import is_id
from recbole_painvrl.data.dataset import MultimodalDataset
from recbole_painvrl.data.encoders import encode_text
from recbole_painvrl.errors import UserError
from recbole_painvrl.tuning.grammar import parse_space
from tests.convert.inputs import SPLITS, WRITERS, matrix
from tests.inputs import Board, write_checkerboard


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return write_checkerboard(tmp_path)


def refusal(format: str, raw: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        convert(format, raw, "made", raw.parent / "dataset", **options)
    assert not (raw.parent / "dataset" / "made").exists()
    return str(caught.value)


def load(board: Board, **keys: Any) -> MultimodalDataset:
    return MultimodalDataset(Config("PaInvRL", "board", config_dict=board.config(**{"modalities": {}, **keys})))


# converters


def test_an_id_of_thousands_of_digits() -> None:
    assert not is_id("9" * 5000)
    assert is_id("0" * 30 + "7")


def test_a_number_of_items_that_fits_no_memory(raw: Path) -> None:
    WRITERS["csv"][1](raw)
    assert "more than the 100,000,000" in refusal("csv", raw, n_items=2**40)
    for path in raw.glob("*.npy"):
        path.unlink()
    assert "more than the 100,000,000" in refusal("csv", raw, n_items=2**40)


def test_a_damaged_header_of_an_array_that_pythons_tokenizer_refuses(raw: Path) -> None:
    WRITERS["mmgcn"][1](raw)
    data = (raw / "user_item_dict.npy").read_bytes()
    (raw / "user_item_dict.npy").write_bytes(data.replace(b"'shape': ()", b"'shape': (("))
    assert "user_item_dict.npy: not a .npy file" in refusal("mmgcn", raw)


@pytest.mark.parametrize("column", ["label", "user", "item"])
def test_columns_of_mmrec_that_are_called_like_ours(raw: Path, column: str) -> None:
    WRITERS["mmrec"][1](raw)
    head, *rows = (raw / "baby.inter").read_text().splitlines()
    (raw / "baby.inter").write_text("\n".join([f"{head}\t{column}", *(f"{row}\t1" for row in rows)]) + "\n")
    if column == "label":
        convert("mmrec", raw, "made", raw.parent / "dataset")
        assert "label:" in (raw.parent / "dataset" / "made" / "made.train.inter").read_text().splitlines()[0]
    else:
        assert "are both there" in refusal("mmrec", raw)


@pytest.mark.parametrize("cell", ["3.0", "3e0", "True"])
def test_ids_that_are_read_by_way_of_floats(raw: Path, cell: str) -> None:
    """In the same column, 9007199254740993 would have become 9007199254740992."""
    (raw / "interactions.csv").write_text(f"user,item\n0,9007199254740993\n1,{cell}\n")
    assert f"line 3: column 'item' holds '{cell}'" in refusal("csv", raw)


def test_a_number_as_only_python_writes_it(raw: Path) -> None:
    """Taken for a number, it would have made a file that no reader of atomic files takes."""
    WRITERS["mmrec"][1](raw)
    head, *rows = (raw / "baby.inter").read_text().splitlines()
    (raw / "baby.inter").write_text("\n".join([f"{head}\tplace", *(f"{row}\t1_000" for row in rows)]) + "\n")
    convert("mmrec", raw, "made", raw.parent / "dataset")
    assert "place:token" in (raw.parent / "dataset" / "made" / "made.train.inter").read_text().splitlines()[0]


def test_a_folder_where_a_file_should_be(raw: Path) -> None:
    (raw / "baby.inter").mkdir()
    assert "baby.inter: cannot be read" in refusal("mmrec", raw)


def test_a_field_with_two_types(raw: Path) -> None:
    WRITERS["csv"][1](raw)
    for name, column in (("train", "note"), ("test", "note:float")):
        head, *rows = (raw / f"{name}.csv").read_text().splitlines()
        (raw / f"{name}.csv").write_text("\n".join([f"{head},{column}", *(f"{row},1" for row in rows)]) + "\n")
    assert "both field 'note'" in refusal("csv", raw)


def test_features_that_single_precision_cannot_hold(raw: Path) -> None:
    WRITERS["csv"][1](raw)
    np.save(raw / "v_feat.npy", np.full((6, 2), 1e300))
    assert "v_feat.npy: row 0 holds NaN or infinity" in refusal("csv", raw)


def test_matrices_pickled_by_protocol_5(raw: Path) -> None:
    import pickle

    WRITERS["diffmm"][1](raw)
    (raw / "trnMat.pkl").write_bytes(pickle.dumps(matrix(SPLITS["train"]), protocol=5))
    assert convert("mmssl", raw, "made", raw.parent / "dataset").splits["train"].interactions == len(SPLITS["train"])


# reading


def test_a_list_column_in_one_of_the_splits_only(board: Board) -> None:
    path = board.folder / "board" / "board.test.inter"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head + "\ttags:token_seq", *(row + "\ta b" for row in rows)]) + "\n")
    dataset = load(board, load_col=None)
    assert [len(cell) for cell in dataset.inter_feat["tags"]].count(2) == len(rows)


def test_texts_of_one_word_alone() -> None:
    encoded = encode_text(["", "film", "film"], 4, 0)
    assert encoded.values.tolist() == [[0.0], [1.0], [1.0]]


def test_a_column_without_any_number_is_not_filled_with_nan(board: Board) -> None:
    items = board.folder / "board" / "board.item"
    table = pd.read_csv(items, sep="\t")
    table["price:float"] = ""
    table.to_csv(items, sep="\t", index=False)
    assert load(board, load_col=None).item_feat["price"].tolist() == [0.0] * 27


@pytest.mark.parametrize("kind", ["float", "float_seq"])
def test_an_infinite_number(board: Board, kind: str) -> None:
    items = board.folder / "board" / "board.item"
    head, *rows = items.read_text().splitlines()
    items.write_text(
        "\n".join([f"{head}\tprice:{kind}", *(f"{row}\t1" for row in rows[:-1]), f"{rows[-1]}\t1e999"]) + "\n"
    )
    with pytest.raises(UserError, match=r"board\.item, line 27, column price: '1e999' is not a finite number"):
        load(board, load_col=None)


def test_nothing_left_after_filtering(board: Board) -> None:
    for name in ("train", "valid", "test"):
        path = board.folder / "board" / f"board.{name}.inter"
        path.rename(path.with_name("board.inter"))
    with pytest.raises(UserError, match="data set 'board'"):
        load(board, benchmark_filename=None, item_inter_num_interval="[999,inf)")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seq_separator", ""),
        ("field_separator", None),
        ("encoding", "hex"),
        ("encoding", "no such"),
        ("encoding", "utf-16"),
        ("load_col", {"inter": None}),
        ("user_inter_num_interval", "[2"),
        ("val_interval", {"rating": "x"}),
        ("seq_len", {"title": -1}),
        ("alias_of_user_id", "x"),
        ("alias_of_user_id", ["friend"]),
        ("numerical_features", None),
        ("discretization", {"rating": 3}),
        ("load_col", {"inter": ["user_id"]}),
        ("modalities", {"parity": {"source": "number", "dimension": 10**12}}),
    ],
)
def test_keys_that_recbole_read_in_silence_or_crashed_by(board: Board, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=key):
        load(board, **{key: value})


def test_intervals() -> None:
    assert all(map(is_intervals, ("[0,inf)", "(1, 2.5];[3,4)", "[-inf,1e3]")))
    assert not any(map(is_intervals, ("[2", "[3,1]", "x", "", "[a,b]", 3, "[1,2];")))


def test_separators_of_several_characters_are_no_regular_expressions(board: Board) -> None:
    for path in (board.folder / "board").glob("board.*"):
        if path.suffix in (".inter", ".item"):
            path.write_text(path.read_text().replace("\t", "||"))
    assert load(board, field_separator="||").item_num == 27


# configuration and search spaces


@pytest.mark.parametrize(
    "text",
    [
        "epochs: &a [*a]",
        "epochs: !!int x",
        "epochs: !!bool x",
        "epochs: !!timestamp x",
        "epochs: 0b_",
        "epochs: 9" + "9" * 5000,
        "epochs: " + "[" * 3000,
        "seed: !!set {1}",
        "a: &a [x, x]\n"
        + "".join(f"k{i}: &k{i} [*{j}, *{j}]\n" for i, j in enumerate(["a", *(f"k{i}" for i in range(28))])),
    ],
    ids=["cycle", "int", "bool", "timestamp", "binary", "digits", "deep", "set", "laughs"],
)
def test_yaml_that_is_not_plain_data(tmp_path: Path, text: str) -> None:
    (tmp_path / "given.yaml").write_text(text)
    with pytest.raises(UserError, match=r"given\.yaml: not valid YAML"):
        read_yaml(tmp_path / "given.yaml")


def test_a_date_stays_text(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text("environment: 2001-99-99")
    assert read_yaml(tmp_path / "given.yaml") == {"environment": "2001-99-99"}


@pytest.mark.parametrize("values", ["[&a [*a]]", "[" * 2000, "[{[]: 1}]", "[0b_]", "[1j]", "[b'x']", "[.nan, .nan]"])
def test_choices_that_are_no_values(values: str) -> None:
    with pytest.raises(UserError, match="space, line 1"):
        parse_space(f"x choice {values}", "space")


def test_a_user_with_everything_is_called_by_name(board: Board) -> None:
    """The loader of a loss that draws unknown items; RecBole's own sampler would come first in a whole run."""
    from recbole_painvrl.data.dataloader import TrainLoader

    path = board.folder / "board" / "board.train.inter"
    rows = [f"u0\ti{item}\tu0-a\ta\n" for item in range(26)]
    path.write_text(path.read_text() + "".join(rows))
    keys = {"rec_loss": "bpr", "n_negatives": 1, "modalities": {}}
    config = Config("PaInvRL", "board", config_dict=board.config(**keys))
    part, *_ = MultimodalDataset(config).build()
    with pytest.raises(UserError, match="dataset 'board': user 'u0' has all 26 items in training"):
        TrainLoader(config, part)


# method


def test_no_feature_column() -> None:
    import torch

    from recbole_painvrl.invariance import (
        FrozenRecommender,
        Interactions,
        SoftmaxLoss,
        generate_mask,
        identify_environments,
    )

    frozen = FrozenRecommender(torch.ones(3, 2), torch.ones(3, 2), torch.ones(4, 2), torch.zeros(4, 0))
    rows, source = Interactions(torch.tensor([1, 2] * 6), torch.tensor([1, 2, 3] * 4)), torch.Generator()
    with pytest.raises(ValueError, match="no feature column"):
        identify_environments(frozen, rows, torch.zeros(2, 0), source)
    with pytest.raises(ValueError, match="no feature column"):
        generate_mask(frozen, rows, rows.users - 1, SoftmaxLoss(), source)


@pytest.mark.parametrize(("method", "scale"), [("spectral", 1.0), ("clustering", 1e34)])
def test_scores_whose_squares_overflow(method: str, scale: float) -> None:
    import torch

    from recbole_painvrl.invariance import EnvironmentSettings, FrozenRecommender, Interactions, identify_environments

    features = torch.tensor([[0.0, 0.0], [-2934.0, -10845.0], [-21788.0, -13986.0]])
    taste = torch.tensor([[0.0, 0.0], [-857.0, 1101.0]])
    frozen = FrozenRecommender(torch.zeros(2, 2), taste, torch.zeros(3, 2), features)
    rows = Interactions(torch.ones(3, dtype=torch.long), torch.tensor([1, 1, 2]))
    projection = scale * torch.tensor([[370.0, 1457.0], [940.0, 775.0]])
    with pytest.raises(ValueError, match="scores are too large"):
        identify_environments(frozen, rows, projection, torch.Generator(), None, EnvironmentSettings(2, method))

"""What cannot be right is refused in one line that names the file and the place; nothing is written."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_painvrl.convert import convert
from tests.convert.inputs import N_USERS, SPLITS, VISUAL, WRITERS, lists, matrix

RawFolder = Callable[[str], Path]
Refused = Callable[..., str]


def spoiled(row: int, value: float) -> np.ndarray:
    """Returns the visual features with ``value`` in one place of ``row``."""
    values = VISUAL.copy()
    values[row, 1] = value
    return values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user,item\n0,1\n1\n", "train.csv line 3: expected 2 fields (user,item), found 1"),
        ("user,item,note\n0,1,a\n1,2\n", "train.csv line 3: expected 3 fields (user,item,note), found 2"),
        ("user,item,note\n0,1,\n\n1,2,\n1,3\n", "train.csv line 5: expected 3 fields (user,item,note), found 2"),
        ("user,item\n0,1,7\n1,2\n", "train.csv line 2: expected 2 fields (user,item), found 3"),
        ("user,item\n0,1\n1,2,7\n", "train.csv line 3: expected 2 fields (user,item), found 3"),
        ("user,item\n0,1\n\n1,x\n", "train.csv line 4: column 'item' holds 'x'"),
        ("user,item\n0,1\n1,1.5\n", "train.csv line 3: column 'item' holds '1.5'"),
        ("user,item\n0,1\n-1,2\n", "train.csv line 3: column 'user' holds '-1'"),
        ("user,item\n0,99999999999999999999\n", "train.csv line 2: column 'item' holds '9999"),
        ("user,item,rating\n0,1,nan\n", "train.csv line 2: column 'rating' holds 'nan', expected a finite number"),
        ("user,item,rating\n0,1,\n1,1,3\n", "train.csv line 2: column 'rating' holds ''"),
        ("user,item,environment\n0,1,a\n1,1,\n", "train.csv line 3: column 'environment' holds ''"),
        ("user,item,environment\n0,1,a\n1,1,NA\n", "train.csv line 3: column 'environment' holds 'NA', expected some"),
        ("user,item,session_id\n0,1,null\n", "holds 'null', expected some text that is no word for nothing such as NA"),
        ("user,item,session_id\n0,1, None \n", "train.csv line 2: column 'session_id' holds ' None '"),
        ("user,items\n0,1\n", "train.csv line 1: column 'item' is missing, found user, items. Did you mean 'items'?"),
        ("user,item\n", "no row in the file"),
        ("", "train.csv: the file is empty"),
        ("user,item\n0,6\n", "train.csv row 1: item 6 of the pair (0, 6) is outside, expected 0 to 5"),
        ("user,item\n0,0\n3,1\n0,0\n", "train.csv row 3: user 0 with item 0 is there twice"),
        ("user,item\n3,3\n0,1\n2,5\n", "valid.csv row 1: user 0 with item 1 is also in train.csv"),
        ("user,item,item\n0,1,1\n", "column name 'item' is empty, padded or there twice"),
        ("user,item,user_id\n0,2,1\n", "column 'user_id' is also in the written user column"),
        ("user,item,age:int\n0,2,1\n", "asks for type 'int', expected one of token,"),
        ("user,item,age:float\n0,2,old\n", "column 'age:float' holds 'old', expected numbers"),
        ("user,item,a b\n0,2,1\n", "'a b' cannot name a field"),
    ],
)
def test_csv_rows(raw: RawFolder, refused: Refused, text: str, expected: str) -> None:
    folder = raw("csv")
    (folder / "train.csv").write_text(text)
    assert expected in refused("csv", folder)


def test_not_utf8(raw: RawFolder, refused: Refused) -> None:
    folder = raw("csv")
    (folder / "train.csv").write_bytes(b"user,item,name\n0,1,\xff\xfe\n")
    assert "train.csv: not a table in UTF-8 text" in refused("csv", folder)


def test_overlap_with_a_further_test_set(raw: RawFolder, refused: Refused) -> None:
    folder = raw("csv")
    (folder / "test_ood.csv").write_text("user,item\n0,3\n2,5\n")
    assert "test_ood.csv row 2: user 2 with item 5 is also in valid.csv" in refused("csv", folder)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (VISUAL[:5], "differ in their number of rows: t_feat.npy has 6, v_feat.npy has 5"),
        (spoiled(3, np.nan), "v_feat.npy: row 3 holds NaN or infinity"),
        (spoiled(4, np.inf), "v_feat.npy: row 4 holds NaN or infinity"),
        (VISUAL[:, 0], "expected a matrix (items, width)"),
        (VISUAL[:, :0], "v_feat.npy"),
        (VISUAL.astype(str), "expected a matrix (items, width)"),
    ],
)
def test_features(raw: RawFolder, refused: Refused, values: np.ndarray, expected: str) -> None:
    folder = raw("csv")
    np.save(folder / "v_feat.npy", values)
    assert expected in refused("csv", folder)


def test_damaged_matrix(raw: RawFolder, refused: Refused) -> None:
    folder = raw("csv")
    (folder / "v_feat.npy").write_bytes((folder / "v_feat.npy").read_bytes()[:-8])
    assert "v_feat.npy: cannot be read as a .npy array" in refused("csv", folder)
    (folder / "v_feat.npy").write_bytes(b"")
    assert "v_feat.npy: cannot be read as a .npy array" in refused("csv", folder)


def test_n_items_must_fit(raw: RawFolder, refused: Refused) -> None:
    assert "has 6 rows, expected 7, one an item (--n_items)" in refused("csv", raw("csv"), n_items=7)
    assert "--n_items=0: expected 1 or more" in refused("csv", raw("mmrec"), n_items=0)


def test_two_files_of_one_modality(raw: RawFolder, refused: Refused) -> None:
    folder = raw("csv")
    np.save(folder / "image_feat.npy", VISUAL)
    assert "are both modality 'visual'" in refused("csv", folder)


@pytest.mark.parametrize("layout", ["csv", "mmssl", "mmrec"])
def test_modalities_that_no_run_could_load(raw: RawFolder, refused: Refused, layout: str) -> None:
    folder = raw(layout)
    np.save(folder / "clip.2_feat.npy", VISUAL)
    message = refused(layout, folder)
    assert "clip.2_feat.npy: 'clip.2" in message
    assert "cannot name a modality; use letters, digits, '_' and '-' in the file's name" in message


def test_words_of_unknown_items(raw: RawFolder, refused: Refused) -> None:
    folder = raw("csv")
    (folder / "t_words.csv").write_text("item,word\n0,1\n8,1\n")
    assert "t_words.csv names item 8, but there are 6 items" in refused("csv", folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("item,title\n0,a\n0,b\n", "items.csv: item 0 has more than one row"),
        ("item,title\n9,a\n", "items.csv names item 9, but there are 6 items"),
        ("item,year,title\n0,1999,\n1,2001\n", "items.csv line 3: expected 3 fields (item,year,title), found 2"),
        ("item,title\nx,a\n", "items.csv line 2: column 'item' holds 'x'"),
        ("item,title\n-2,a\n", "items.csv line 2: column 'item' holds '-2'"),
        ("id,title\n1,a\n", "items.csv line 1: column 'item' is missing"),
        ("item,age\n1,a\n", "column 'age' is also in items.csv"),
    ],
)
def test_metadata(raw: RawFolder, refused: Refused, text: str, expected: str) -> None:
    folder = raw("csv")
    (folder / "items.csv").write_text(text)
    (folder / "users.csv").write_text("user,age\n0,3\n")
    assert expected in refused("csv", folder)


@pytest.mark.parametrize(
    ("layout", "file", "expected"),
    [
        ("csv", "valid.csv", "valid.csv not found; expected train.csv, valid.csv and test.csv, or interactions.csv"),
        ("mmgcn", "train.npy", "train.npy not found; expected train.npy, val_full.npy and test_full.npy, or user_item"),
        ("mmgcn", "test_full.npy", "test_full.npy not found; expected train.npy"),
        ("mmssl", "val.json", "val.json not found; expected train.json, val.json and test.json"),
        ("diffmm", "tstMat.pkl", "tstMat.pkl not found; expected"),
        ("mmrec", "baby.inter", "no .inter file found; expected <name>.inter"),
    ],
)
def test_missing_files(raw: RawFolder, refused: Refused, layout: str, file: str, expected: str) -> None:
    folder = raw(layout)
    (folder / file).unlink()
    assert expected in refused(WRITERS[layout][0], folder)


@pytest.mark.parametrize("format", ["csv", "mmgcn", "mmssl", "mmrec"])
def test_folder_without_data(tmp_path: Path, refused: Refused, format: str) -> None:
    (tmp_path / "empty").mkdir()
    assert "expected" in refused(format, tmp_path / "empty")
    assert "not found, expected the folder" in refused(format, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("userID\titemID\tx_label\n0\t5\t0\n0\t1\t3\n", "baby.inter row 2: x_label is 3, expected 0 for train"),
        ("userID\titemID\tx_label\n0\t5\t0\n0\t1\n", "baby.inter line 3: expected 3 fields"),
        ("userID\titemID\tx_label\n0\t5\t0\n0\t1\t1\n", "no row has x_label 2"),
        ("userID\titemID\n0\t5\n", "column 'x_label' is missing"),
        ("userID\titemID\tx_label\n0\t4\t0\n0\t1\t1\n0\t2\t2\n", "has 6 rows, expected 5, one an item"),
        ("userID\titemID\tx_label\n0\t5\t0\n0\t1\t1\n0\t5\t2\n", "baby.inter (x_label 2) row 3: user 0 with item 5"),
        ("user_id:token\titem_id:token\n0\t5\n", "holds RecBole atomic files already"),
    ],
)
def test_mmrec_table(raw: RawFolder, refused: Refused, text: str, expected: str) -> None:
    folder = raw("mmrec")
    (folder / "baby.inter").write_text(text)
    assert expected in refused("mmrec", folder)


def test_offset_mismatch(raw: RawFolder, refused: Refused) -> None:
    folder = raw("mmgcn")
    assert "item offset 5 does not fit" in refused("mmgcn", folder, item_offset=5)
    assert "item offset 0 does not fit" in refused("mmgcn", folder, item_offset=0)
    np.save(folder / "train.npy", np.array([(0, 5), (1, 6), (2, 9)]))
    np.save(folder / "test_full.npy", lists([(0, 3)], N_USERS))
    assert "the item offset is not certain" in refused("mmgcn", folder)
    np.save(folder / "train.npy", np.array([(0, 5), (1, 40)]))
    assert "none fits" in refused("mmgcn", folder)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((3, 3), dtype=int), "expected an integer array of rows (user, item)"),
        (np.zeros((3, 2)), "expected an integer array of rows (user, item)"),
    ],
)
def test_mmgcn_train(raw: RawFolder, refused: Refused, array: np.ndarray, expected: str) -> None:
    folder = raw("mmgcn")
    np.save(folder / "train.npy", array)
    assert expected in refused("mmgcn", folder)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0, 5], [], [2, 9, 8]], "holds an empty list"),
        ([[0, 5], [2, "9", 8]], "holds a str where an id was expected"),
        ([[0, 5], [2, 9.5, 8]], "holds a float where an id was expected"),
        ([[0], [2]], "no interaction"),
        ([None, [2, 9]], "holds a NoneType where a list of ids was expected"),
    ],
)
def test_mmgcn_lists(raw: RawFolder, refused: Refused, rows: list, expected: str) -> None:
    folder = raw("mmgcn")
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    np.save(folder / "val_full.npy", array)
    assert expected in refused("mmgcn", folder)


def test_mmgcn_tensor_files(raw: RawFolder, refused: Refused) -> None:
    folder = raw("mmgcn")
    torch.save({"v": torch.ones(6, 2)}, folder / "feat_a.pt")
    assert "feat_a.pt: expected one dense tensor" in refused("mmgcn", folder)
    (folder / "feat_a.pt").write_bytes(b"not a tensor")
    assert "feat_a.pt: refused" in refused("mmgcn", folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"0": [1], "x": [2]}', "entry 'x' is not a user number"),
        ('{"0": [1], "-1": [2]}', "entry '-1' is not a user number"),
        ('{"0": [1], "0": [2]}', "user '0' is there twice"),
        ('{"0": [1, -2]}', "item -2 of the pair (0, -2) is outside"),
        ('{"0": [1, 2.5]}', "item 2.5 is not a whole number"),
        ('{"0": [1, 99999999999999999999]}', "an item id does not fit 64 bits"),
        ('{"0": []}', "no interaction in the file"),
        ("[1]", "expected one object"),
        ("{", "not JSON text"),
        ("", "not JSON text"),
        ('{"0": [1, 1]}', "user 0 with item 1 is there twice"),
    ],
)
def test_json(raw: RawFolder, refused: Refused, text: str, expected: str) -> None:
    folder = raw("mmssl")
    (folder / "val.json").write_text(text)
    message = refused("mmssl", folder)
    assert expected in message and "val.json" in message


def test_json_and_train_mat_differ(raw: RawFolder, refused: Refused) -> None:
    folder = raw("mmssl")
    (folder / "train.json").write_text(json.dumps({"0": [0]}))
    assert "train.json and train_mat hold different interactions" in refused("mmssl", folder)


def test_matrices(raw: RawFolder, refused: Refused) -> None:
    folder = raw("diffmm")
    odd = matrix(SPLITS["train"])
    odd.data[2] = 3
    (folder / "trnMat.pkl").write_bytes(pickle.dumps(odd))
    assert "trnMat.pkl: entry 2 is 3.0, expected 1" in refused("mmssl", folder)
    odd = matrix(SPLITS["train"])
    odd.resize(N_USERS, 8)
    (folder / "trnMat.pkl").write_bytes(pickle.dumps(odd))
    assert "the matrices differ in shape" in refused("mmssl", folder)
    (folder / "trnMat.pkl").write_bytes(pickle.dumps({"rows": [1]}))
    assert "expected a pickled scipy.sparse matrix" in refused("mmssl", folder)
    (folder / "trnMat.pkl").write_bytes(pickle.dumps(matrix(SPLITS["train"]))[:-20])
    assert "trnMat.pkl: cannot be read as pickled plain data" in refused("mmssl", folder)


def test_exchanged_labels_of_a_known_set(raw: RawFolder, refused: Refused, tmp_path: Path) -> None:
    folder = raw("mmrec")
    for path in folder.glob("*.npy"):
        path.unlink()
    counts = ((0, 10), (1, 6130), (2, 3051))
    rows = [f"{label}\t{item}\t{label}" for label, count in counts for item in range(count)]
    (folder / "baby.inter").write_text("\n".join(["userID\titemID\tx_label", *rows]))
    assert "has 6,130 validation and 3,051 test rows" in refused("mmrec", folder)
    assert "contradict" in refused("mmrec", folder, swap_labels=True, keep_labels=True)
    swapped = convert("mmrec", folder, "swapped", tmp_path / "other", swap_labels=True)
    assert swapped.splits["test"].interactions == 6130
    kept = convert("mmrec", folder, "kept", tmp_path / "other", keep_labels=True)
    assert kept.splits["test"].interactions == 3051


def test_more_validation_than_test_is_remarked(raw: RawFolder, tmp_path: Path) -> None:
    summary = convert("csv", raw("csv"), "tiny", tmp_path, swap_labels=True)
    assert any("more validation than test rows (3 > 2)" in note for note in summary.notes)

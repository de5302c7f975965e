"""Every format gives the same atomic files from the same data, and these are known byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_painvrl.convert import convert
from recbole_painvrl.data.atomic import AtomicFormat
from recbole_painvrl.data.features import Items
from tests.convert.inputs import (
    N_USERS,
    SPLITS,
    TEXTUAL,
    VISUAL,
    WORDS,
    WRITERS,
    contents,
    lists,
    mapping,
    matrix,
)

RawFolder = Callable[[str], Path]
HEADER = "user_id:token\titem_id:token\n"


def pairs_text(pairs: list[tuple[int, int]]) -> bytes:
    """Returns the expected bytes of an interaction file."""
    return (HEADER + "".join(f"{user}\t{item}\n" for user, item in pairs)).encode()


@pytest.mark.parametrize("layout", WRITERS)
def test_atomic_files(raw: RawFolder, tmp_path: Path, layout: str) -> None:
    convert(WRITERS[layout][0], raw(layout), "tiny", tmp_path / "dataset")
    found = contents(tmp_path / "dataset" / "tiny")
    ids = b"0\n1\n2\n3\n4\n5\n"
    for modality, values in (("visual", VISUAL), ("textual", TEXTUAL)):
        matrix_file = tmp_path / "dataset" / "tiny" / f"tiny.{modality}.npy"
        read = np.load(matrix_file, allow_pickle=False)
        assert read.dtype == values.dtype and np.array_equal(read, values)
        del found[matrix_file.name]
    assert found == {
        "tiny.train.inter": pairs_text(SPLITS["train"]),
        "tiny.valid.inter": pairs_text(SPLITS["valid"]),
        "tiny.test.inter": pairs_text(SPLITS["test"]),
        "tiny.item": b"item_id:token\n" + ids,
        "tiny.visual.ids": ids,
        "tiny.textual.ids": ids,
        "tiny.yaml": b"field_separator: \"\\t\"\nseq_separator: ' '\nUSER_ID_FIELD: user_id\nITEM_ID_FIELD: item_id\n"
        b"load_col: null\nbenchmark_filename: [train, valid, test]\nmodalities:\n"
        b"  textual: {source: npy}\n  visual: {source: npy}\n",
    }


@pytest.mark.parametrize("layout", [name for name in WRITERS if name != "csv"])
def test_formats_agree(raw: RawFolder, tmp_path: Path, layout: str) -> None:
    convert("csv", raw("csv"), "tiny", tmp_path / "from-csv")
    convert(WRITERS[layout][0], raw(layout), "tiny", tmp_path / "other")
    assert contents(tmp_path / "other" / "tiny") == contents(tmp_path / "from-csv" / "tiny")


def test_counts(raw: RawFolder, tmp_path: Path) -> None:
    summary = convert("csv", raw("csv"), "tiny", tmp_path)
    assert (summary.users, summary.items, summary.interactions, summary.interacted_items) == (4, 6, 11, 5)
    assert vars(summary.splits["test"]) == {
        "interactions": 3, "users": 3, "items": 3, "cold_items": 1, "cold_item_rows": 1, "cold_users": 0,
        "cold_user_rows": 0,
    }  # fmt: skip
    norms = np.linalg.norm(VISUAL.astype(float), axis=1)
    assert summary.modalities["visual"].norms == (norms.min(), np.median(norms), norms.max())
    assert "4 users, 6 items, 11 interactions" in summary.text()


def test_columns_and_metadata(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("csv")
    (folder / "train.csv").write_text(
        "user,item,environment,timestamp,device,rating\n0,5,rain,30,big  phone,4\n1,1,sun,20.5,pad,3.5\n"
    )
    (folder / "valid.csv").write_text("user,item,rating\n0,1,1\n")
    (folder / "test_ood.csv").write_text("user,item\n0,3\n2,2\n")
    (folder / "items.csv").write_text(
        'item,title,year,code:token,area\n0,"The ""Q"", again",1999,01,\n3,None,2001,02,x\n', encoding="utf-8"
    )
    (folder / "users.csv").write_text("user,age\n3,20\n9,31\n")
    np.savetxt(folder / "t_words.csv", WORDS.T, fmt="%d", delimiter=",", header="item,word", comments="")
    convert("csv", folder, "tiny", tmp_path / "dataset")
    found = contents(tmp_path / "dataset" / "tiny")
    assert found["tiny.train.inter"].decode() == (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\tenvironment:token\tdevice:token_seq\n"
        "0\t5\t4.0\t30.0\train\tbig phone\n1\t1\t3.5\t20.5\tsun\tpad\n"
    )
    assert found["tiny.valid.inter"].decode() == "user_id:token\titem_id:token\trating:float\n0\t1\t1\n"
    assert found["tiny.test_ood.inter"] == pairs_text([(0, 3), (2, 2)])
    assert found["tiny.item"].decode() == (
        "item_id:token\ttitle:token_seq\tyear:float\tcode:token\tarea:token\twords:token_seq\n"
        '0\t"The ""Q"", again"\t1999\t01\t\t7 9 7\n1\t\t\t\t\t7\n2\t\t\t\t\t3\n3\tNone\t2001\t02\tx\t3\n'
        "4\t\t\t\t\t2\n5\t\t\t\t\t11\n"
    )
    assert found["tiny.user"].decode() == "user_id:token\tage:float\n0\t\n1\t\n2\t\n3\t20\n9\t31\n"
    settings = found["tiny.yaml"].decode()
    assert "benchmark_filename: [train, valid, test, test_ood]" in settings
    assert "RATING_FIELD: rating\nTIME_FIELD: timestamp\n" in settings
    assert "  words: {source: words, field: words}\n" in settings


def test_quotation_marks_are_written_as_they_are_read(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("csv")
    (folder / "items.csv").write_text('item,tags\n0,"12"" pop ""live"""\n1,""""\n2,"a\tb"\n')
    convert("csv", folder, "tiny", tmp_path)
    items = Items(tmp_path / "tiny", "tiny", np.array(["[PAD]", "0", "1", "2", "3"]), "item_id", AtomicFormat())
    assert items.texts("tags") == ["", '12" pop "live"', '"', "a b", ""]
    stored = pd.read_csv(items.path, sep="\t")["tags:token_seq"].fillna("")
    assert stored[:4].tolist() == items.texts("tags")[1:]


def test_interactions_without_split(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("csv")
    for name in SPLITS:
        (folder / f"{name}.csv").unlink()
    (folder / "interactions.csv").write_text("user,item\n1,4\n0,2\n")
    np.save(folder / "gist_feat.npy", VISUAL.astype(np.float16))
    summary = convert("csv", folder, "tiny", tmp_path / "dataset")
    found = contents(tmp_path / "dataset" / "tiny")
    assert found["tiny.inter"] == pairs_text([(1, 4), (0, 2)])
    assert b"benchmark_filename" not in found["tiny.yaml"]
    assert list(summary.modalities) == ["gist", "textual", "visual"]
    assert np.load(tmp_path / "dataset" / "tiny" / "tiny.gist.npy").dtype == np.float16


def test_only_named_items_without_features(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("csv")
    (folder / "v_feat.npy").unlink()
    (folder / "t_feat.npy").unlink()
    convert("csv", folder, "tiny", tmp_path)
    assert (tmp_path / "tiny" / "tiny.item").read_text() == "item_id:token\n0\n1\n3\n4\n5\n"
    convert("csv", folder, "told", tmp_path, n_items=7)
    assert (tmp_path / "told" / "told.item").read_text() == "item_id:token\n0\n1\n2\n3\n4\n5\n6\n"


def test_mmgcn_tiktok_layout(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("mmgcn")
    for path in folder.glob("Feature*"):
        path.unlink()
    torch.save(torch.from_numpy(VISUAL.astype(float)), folder / "feat_v.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.from_numpy(TEXTUAL), folder / "feat_a.pt")
    torch.save(torch.from_numpy(WORDS), folder / "feat_t.pt", _use_new_zipfile_serialization=False)
    summary = convert("mmgcn", folder, "tiny", tmp_path)
    found = tmp_path / "tiny"
    visual = np.load(found / "tiny.visual.npy")
    assert visual.dtype == np.float64 and np.array_equal(visual, VISUAL)
    assert np.array_equal(np.load(found / "tiny.acoustic.npy"), TEXTUAL)
    assert (found / "tiny.item").read_text() == (
        "item_id:token\twords:token_seq\n0\t7 9 7\n1\t7\n2\t3\n3\t3\n4\t2\n5\t11\n"
    )
    assert (found / "tiny.train.inter").read_bytes() == pairs_text(SPLITS["train"])
    assert "user_item_dict.npy holds the training interactions" in summary.notes


@pytest.mark.parametrize("kind", [list, set])
def test_mmgcn_toy_sample_has_no_offset(tmp_path: Path, kind: type) -> None:
    pairs = sorted(pair for pairs in SPLITS.values() for pair in pairs)
    np.save(tmp_path / "user_item_dict_sample.npy", mapping(pairs, 0, kind))
    np.save(tmp_path / "v_feat_sample.npy", VISUAL)
    torch.save(torch.from_numpy(WORDS), tmp_path / "t_feat_sample.pt")
    convert("mmgcn", tmp_path, "tiny", tmp_path / "dataset")
    assert (tmp_path / "dataset" / "tiny" / "tiny.inter").read_bytes() == pairs_text(pairs)


def test_mmgcn_toy_under_full_names_needs_the_offset(tmp_path: Path, refused: Callable[..., str]) -> None:
    np.save(tmp_path / "user_item_dict.npy", mapping([(0, 0), (3, 5)], 0))
    np.save(tmp_path / "feat_v.npy", VISUAL)
    assert "--item_offset=N" in refused("mmgcn", tmp_path)
    summary = convert("mmgcn", tmp_path, "tiny", tmp_path / "dataset", item_offset=0)
    assert summary.items == 6


def test_clcrec_layout(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("mmgcn")
    (folder / "user_item_dict.npy").rename(folder / "user_item_train_dict.npy")
    (folder / "FeatureVideo_normal.npy").rename(folder / "feat_v.npy")
    (folder / "FeatureText_stl_normal.npy").rename(folder / "feat_t.npy")
    np.save(folder / "warm_set.npy", np.array([4, 5, 7, 9]))
    np.save(folder / "test_cold.npy", np.array([[0], [1, 4 + N_USERS]], dtype=object))
    np.save(folder / "test_warm.npy", np.array([[0, 3 + N_USERS], [3, N_USERS]]))  # lists of one length
    summary = convert("mmgcn", folder, "tiny", tmp_path)
    found = tmp_path / "tiny"
    assert (found / "tiny.test_cold.inter").read_bytes() == pairs_text([(1, 4)])
    assert (found / "tiny.test_warm.inter").read_bytes() == pairs_text([(0, 3), (3, 0)])
    assert list(summary.splits) == ["train", "valid", "test", "test_cold", "test_warm"]
    assert summary.interactions == 11


def test_short_val_npy_is_told_apart_from_the_first_release(
    raw: RawFolder, refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = raw("mmgcn")
    (folder / "val_full.npy").rename(folder / "val.npy")
    assert convert("mmgcn", folder, "tiny", tmp_path / "kept").splits["valid"].interactions == 2
    old = np.array([[0, *[N_USERS] * 1000, 5, 6], [2, *[N_USERS] * 1000, 9]], dtype=object)
    np.save(folder / "val.npy", old)
    assert "first release" in refused("mmgcn", folder) and "val.npy" in refused("mmgcn", folder)
    (folder / "val.npy").rename(folder / "val_full.npy")
    assert "first release" in refused("mmgcn", folder)


def test_protocol_2_object_arrays_with_pickled_scalars(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("mmgcn")
    array = lists(SPLITS["valid"], N_USERS)
    array[:] = [[np.int64(value) for value in row] for row in array]
    write_old_npy(folder / "val_full.npy", array)
    mapped = {np.int64(0): {np.int32(4), np.int32(9)}}
    write_old_npy(folder / "user_item_dict.npy", np.array(mapped))
    summary = convert("mmgcn", folder, "tiny", tmp_path)
    assert (tmp_path / "tiny" / "tiny.valid.inter").read_bytes() == pairs_text(SPLITS["valid"])
    assert any("lacks 4 that are" in note for note in summary.notes)


def write_old_npy(path: Path, array: np.ndarray) -> None:
    """Writes an object array as old numpy did: a version 1 header and a pickle of protocol 2."""
    import pickle

    with open(path, "wb") as handle:
        np.lib.format.write_array_header_1_0(handle, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, handle, protocol=2)


def test_mmssl_without_train_json_reads_train_mat(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("mmssl")
    (folder / "train.json").unlink()
    convert("mmssl", folder, "tiny", tmp_path)
    assert (tmp_path / "tiny" / "tiny.train.inter").read_bytes() == pairs_text(SPLITS["train"])


def test_mmssl_with_a_byte_order_mark(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("mmssl")
    (folder / "train.json").write_text((folder / "train.json").read_text(), encoding="utf-8-sig")
    convert("mmssl", folder, "tiny", tmp_path)
    assert (tmp_path / "tiny" / "tiny.train.inter").read_bytes() == pairs_text(SPLITS["train"])


@pytest.mark.parametrize("kind", ["coo", "csr", "csc"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_sparse_kinds(raw: RawFolder, tmp_path: Path, kind: str, protocol: int) -> None:
    import pickle

    folder = raw("diffmm")
    (folder / "trnMat.pkl").write_bytes(pickle.dumps(matrix(SPLITS["train"]).asformat(kind), protocol))
    convert("mmssl", folder, "tiny", tmp_path)
    assert (tmp_path / "tiny" / "tiny.train.inter").read_bytes() == pairs_text(SPLITS["train"])


def test_lattice_with_two_cores(raw: RawFolder, refused: Callable[..., str], tmp_path: Path) -> None:
    folder = raw("lattice")
    (folder / "10-core").mkdir()
    assert "--core=K" in refused("mmssl", folder)
    assert "5-core" in refused("mmssl", folder, core=3)
    assert convert("mmssl", folder, "tiny", tmp_path / "dataset", core=5).interactions == 11


def test_mmrec_encoders_and_further_columns(raw: RawFolder, tmp_path: Path) -> None:
    folder = raw("mmrec")
    np.save(folder / "all-MiniLM-L6-v2.npy", VISUAL)
    np.save(folder / "user_graph_dict.npy", np.array({0: [1]}))
    text = (folder / "baby.inter").read_text().splitlines()
    lines = [f"{text[0]}\trating", *(f"{line}\t{row % 5 + 1}.0" for row, line in enumerate(text[1:]))]
    (folder / "baby.inter").write_text("\n".join(lines))
    summary = convert("mmrec", folder, "tiny", tmp_path)
    assert list(summary.modalities) == ["all-MiniLM-L6-v2", "textual", "visual"]
    assert (tmp_path / "tiny" / "tiny.valid.inter").read_text() == (
        "user_id:token\titem_id:token\trating:float\n0\t1\t2.0\n2\t5\t4.0\n"
    )


def test_swap_labels(raw: RawFolder, tmp_path: Path) -> None:
    convert("mmrec", raw("mmrec"), "tiny", tmp_path, swap_labels=True)
    assert (tmp_path / "tiny" / "tiny.test.inter").read_bytes() == pairs_text(SPLITS["valid"])

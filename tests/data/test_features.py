"""Feature files and metadata fields: alignment, reports, refusals, memory."""

from __future__ import annotations

import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.data.atomic import AtomicFormat
from recbole_painvrl.data.feature_files import AtomicFile
from recbole_painvrl.data.features import Items, Modality, gather, load_modalities
from recbole_painvrl.errors import UserError
from tests.inputs import write_atomic_features, write_features, write_items

VALUES = np.arange(8, dtype=np.float32).reshape(4, 2)
ITEMS = ["b", "a", "d", "c"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a modality of each kind of file and with metadata; the data set's items are a to d."""
    write_features(tmp_path, "toy", "visual", ITEMS, VALUES)
    write_atomic_features(tmp_path, "toy", "sound", ITEMS, VALUES)
    frame = pd.DataFrame(
        {
            "item_id": [*ITEMS, "e"],
            "title": ["red apple", "NA", "green tree", "", "blue"],
            "genre": ["x", "y x", "", "y", "z"],
            "year": ["1990", "2000", "V", "2010", "1"],
            "words": ["1 1 2", "2", "", "3", "4"],
        }
    )
    write_items(tmp_path, "toy", frame, {"title": "token_seq", "genre": "token_seq", "words": "token_seq"})
    return tmp_path / "toy"


def load(folder: Path, settings: Any, tokens: str = "abcd") -> dict[str, Modality]:
    """Loads modalities of the items ``tokens``, a letter each."""
    items = Items(folder, "toy", np.array(["[PAD]", *tokens]), "item_id", AtomicFormat())
    return load_modalities(settings, items, seed=1)


def raw(source: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "normalize": "none", **more}


@pytest.mark.parametrize(("name", "source"), [("visual", "npy"), ("sound", "atomic")])
def test_files_are_taken_by_token(folder: Path, name: str, source: str) -> None:
    modality = load(folder, {name: raw(source)})[name]
    assert modality.values.tolist() == [[0, 0], [2, 3], [0, 1], [6, 7], [4, 5]]
    assert modality.values.dtype == np.float32 and modality.dimension == 2 and modality.source == source
    assert not modality.missing.any()
    assert load(folder, {name: {"normalize": "none"}})[name].source == source


@pytest.mark.parametrize(("name", "source"), [("visual", "npy"), ("sound", "atomic")])
def test_missing_and_foreign_items_are_told(folder: Path, name: str, source: str, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    modality = load(folder, {name: raw(source)}, "abz")[name]
    assert modality.missing.tolist() == [False, False, False, True]
    assert modality.values[3].tolist() == [1, 2]  # the mean of a and b
    line = caplog.messages[-1]
    assert line.startswith(f"{name}: 3 x 2 from toy.{name}") and "1 items without features" in line
    assert "2 rows of items that are not in the data set ignored (d, c" in line


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32])
def test_other_number_types_are_accepted(folder: Path, dtype: type) -> None:
    write_features(folder.parent, "toy", "visual", ITEMS, VALUES.astype(dtype))
    assert load(folder, {"visual": raw("npy")})["visual"].values[1].tolist() == [2, 3]


def test_atomic_files_of_recbole_with_other_columns_and_gaps(folder: Path) -> None:
    (folder / "toy.itemv").write_text(
        "vid:token\tn:float\tv:float_seq\tw:float_seq\na\t1\t1 2e-1\t9\nb\t1\t\t9\n\nc\t1\t-3  4\t9"
    )
    modality = load(folder, {"visual": raw("atomic", file="toy.itemv", field="v")})["visual"]
    assert np.allclose(modality.values[[1, 3]], [[1, 0.2], [-3, 4]]) and modality.missing.tolist()[2:] == [
        True,
        False,
        True,
    ]


def test_by_default_every_matrix_of_the_folder_in_alphabetical_order(folder: Path) -> None:
    write_features(folder.parent, "toy", "acoustic", ITEMS, VALUES)
    assert list(load(folder, None)) == ["acoustic", "visual"]
    assert list(load(folder, ["visual", "sound"])) == ["visual", "sound"] and load(folder, {}) == {}
    assert np.allclose(np.linalg.norm(load(folder, None)["visual"].values[1:], axis=1), 1)


def test_metadata_sources(folder: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    settings = {
        "title": {"source": "text", "dimension": 3},
        "genres": raw("tags", field="genre"),
        "year": raw("number", dimension=2),
        "words": {"source": "words", "dimension": 16},
    }
    title, genres, year, words = load(folder, settings).values()
    assert title.missing.tolist() == [False, False, False, True, False]  # the text NA is a text
    assert genres.names == ("x", "y") and np.allclose(genres.values[1:], [[1, 1], [1, 0], [0, 1], [2 / 3, 2 / 3]])
    assert year.values[1:4].tolist() == [[0.5, 0.5], [1, 0], [0, 1]] and year.missing[4]
    assert words.values is None and words.dimension == 16 and words.names == ("1", "2", "3")
    assert words.words.toarray()[1:].tolist() == [[0, 1, 0], [2, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert words.missing.tolist() == [False, False, False, False, True]
    assert any("1 cells are not numbers (such as 'V')" in message for message in caplog.messages)


CELLS = {'"x ""y"""': 'x "y"', 'x"': 'x"', '"x y"z"': 'x yz"', '""': "", '"""x"""': '"x"'}


def test_quotation_marks_are_read_as_recbole_reads_them(folder: Path) -> None:
    lines = [f"i{number}\t{cell}\n" for number, cell in enumerate(CELLS)]
    (folder / "toy.item").write_text("item_id:token\tgenre:token_seq\n" + "".join(lines) + '"a ""b"""\tx\n')
    tokens = np.array(["[PAD]", *(f"i{number}" for number in range(len(CELLS))), 'a "b"'])
    items = Items(folder, "toy", tokens, "item_id", AtomicFormat())
    assert items.texts("genre") == ["", *CELLS.values(), "x"]
    assert [AtomicFormat().unquoted(cell) for cell in CELLS] == list(CELLS.values())
    write_atomic_features(folder.parent, "toy", "sound", ['"a ""b"""', "i1", "i2", "i0"], VALUES)
    sound = load_modalities({"sound": raw("atomic")}, items, seed=1)["sound"]
    assert sound.values[-1].tolist() == VALUES[0].tolist()


def test_separators_of_several_characters_know_no_quotation_marks(folder: Path) -> None:
    form = AtomicFormat(field_separator="||")
    (folder / "toy.item").write_text('item_id:token||genre:token\na||"x"\n')
    assert Items(folder, "toy", np.array(["[PAD]", "a"]), "item_id", form).texts("genre") == ["", '"x"']
    assert form.unquoted('"x"') == '"x"'


def test_non_finite_values_are_named(folder: Path) -> None:
    for bad in (np.nan, np.inf, 1e300):
        values = VALUES.astype(np.float64)
        values[2, 1] = bad
        write_features(folder.parent, "toy", "visual", ITEMS, values)
        with pytest.raises(UserError, match=r"toy\.visual\.npy, row 2 .*item d\), dimension 1"):
            load(folder, ["visual"])
    write_atomic_features(folder.parent, "toy", "sound", ITEMS, np.where(VALUES == 5, np.nan, VALUES))
    with pytest.raises(UserError, match=r"toy\.sound, line 4 \(item d\), dimension 1: nan"):
        load(folder, ["sound"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("item_id:token\tv:float_seq\n", "no row with features"),
        ("item_id:token\tv:float\na\t1\n", "expected a token column and a float_seq column"),
        ("item_id:token\tv:float_seq\tw:float_seq\na\t1\t1\n", "no float_seq column None"),
        ("item_id:token\tv:float_seq\na\t1 2\nb\t1\t2\n", "line 3: 3 columns"),
        ("item_id:token\tv:float_seq\na\t1 2\nb\t1 2 3\n", r"line 3 \(item b\): 3 values where line 2 has 2"),
        ("item_id:token\tv:float_seq\na\t1 2\nb\t1 2x\n", r"line 3 \(item b\): '2x' is not a number"),
        ("item_id:token\tv:float_seq\na\t1 2\nb\tone two\n", r"line 3 \(item b\): 'one' is not a number"),
        ("item_id:token\tv:float_seq\na\t1 2\nb\t1 2\na\t1 2\n", "line 4: the item 'a' is at line 2 already"),
        ("item_id:token\tv:float_seq\ni1\t1 2\n", "none of its items is in the data set; its items: 'i1'"),
    ],
)
def test_malformed_atomic_files_are_refused(folder: Path, content: str, message: str) -> None:
    (folder / "toy.sound").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        load(folder, ["sound"])
    assert "toy.sound" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("a\nb\nc\n", "4 rows, but toy.visual.ids has 3 lines"),
        ("a\nb\na\nc\n", r"row 2 .*: the item 'a' is at row 0 .* already"),
        ("a\n\nb\nc\n", "line 2: the line is empty"),
        ("0\n1\n2\n3\n", "none of its items is in the data set"),
    ],
)
def test_bad_token_lists_are_refused(folder: Path, ids: str, message: str) -> None:
    (folder / "toy.visual.ids").write_text(ids)
    with pytest.raises(UserError, match=message):
        load(folder, ["visual"])


def test_a_byte_order_mark_is_no_part_of_the_first_token(folder: Path) -> None:
    path = folder / "toy.visual.ids"
    expected = load(folder, {"visual": raw("npy")})["visual"]
    path.write_text(path.read_text(), encoding="utf-8-sig")
    found = load(folder, {"visual": raw("npy")})["visual"]
    assert np.array_equal(found.values, expected.values) and not found.missing.any()


def test_bad_matrices_are_refused(folder: Path) -> None:
    path = folder / "toy.visual.npy"
    for content in (np.zeros(4), np.array([["a"]]), np.array([[None]]), np.zeros((0, 3))):
        np.save(path, content)
        with pytest.raises(UserError, match=r"toy\.visual\.npy"):
            load(folder, ["visual"])
    path.write_bytes(b"no matrix")
    with pytest.raises(UserError, match="not a readable"):
        load(folder, ["visual"])
    (folder / "toy.visual.ids").unlink()
    np.save(path, VALUES)
    with pytest.raises(UserError, match=r"toy\.visual\.ids: there is no such file"):
        load(folder, ["visual"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["smell"], r"modalities.smell: looked for toy.smell.npy and toy.smell .*found toy.sound, toy.visual.npy"),
        ({"visual": {"source": "numpy"}}, r"modalities.visual.source: 'numpy' is none of npy.*Did you mean"),
        ({"visual": {"normalise": "l2"}}, r"modalities.visual: unknown key 'normalise'.*Did you mean 'normalize'"),
        ({"visual": {"normalize": "L1"}}, r"modalities.visual.normalize: 'L1' is none of l2"),
        ({"visual": "npy"}, r"modalities.visual: 'npy' is no mapping"),
        ({"words": {"source": "words", "normalize": "l2"}}, r"unknown key 'normalize'"),
        ("visual", "modalities: 'visual' is no mapping"),
        ({"a.b": {"source": "npy"}}, "cannot be the name"),
        ({"year": {"source": "number", "dimension": 1}}, "whole number of at least 2"),
        ({"year": {"source": "number", "field": 3}}, "modalities.year.field: 3"),
        ({"yaer": {"source": "number"}}, r"toy.item, line 1: no column 'yaer' .*Did you mean 'year'"),
        ({"visual": {"source": "npy", "file": "other.npy"}}, r"other\.npy: there is no such file"),
    ],
)
def test_wrong_settings_are_refused(folder: Path, settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(folder, settings)


def test_metadata_files_are_checked(folder: Path) -> None:
    genres = {"genre": {"source": "tags"}}
    with pytest.raises(UserError, match="none of its items is in the data set"):
        load(folder, genres, "xyz")
    (folder / "toy.item").write_text("item_id:token\tgenre:token\na\tx\nb\n")
    with pytest.raises(UserError, match=r"toy\.item, line 3: 1 columns"):
        load(folder, genres)
    (folder / "toy.item").write_text("item_id:token\tgenre:token\na\tx\nb\tx\na\ty\n")
    with pytest.raises(UserError, match=r"toy\.item, line 4: the item 'a' is at line 2 already"):
        load(folder, genres)
    for rows, line in (('a\t"x\nb\ty"\n', 2), ('a\t"x"\nb\ty\nc\t"x\n', 4)):
        (folder / "toy.item").write_text(f"item_id:token\tgenre:token\n{rows}")
        with pytest.raises(UserError, match=rf"toy\.item, line {line}: a cell that starts with a quotation mark"):
            load(folder, genres)
    (folder / "toy.item").write_text("item_id:token\tgenre:token\na\t\nb\t\n")
    with pytest.raises(UserError, match=r"toy\.item, column genre \(modality genre\): no item has a value"):
        load(folder, genres)
    (folder / "toy.item").unlink()
    with pytest.raises(UserError, match=r"toy\.item: there is no such file"):
        load(folder, genres)


def memory_of_reading(folder: Path, n_items: int, width: int) -> float:
    """Returns the peak memory of reading an atomic file over the size of its matrix."""
    tokens = [f"i{item}" for item in range(n_items)]
    row = np.random.default_rng(0).normal(size=width).astype(np.float32)
    path = write_atomic_features(folder, "toy", "wide", tokens, np.broadcast_to(row, (n_items, width)))
    order = np.random.default_rng(1).permutation(n_items)
    tracemalloc.start()
    values, missing = gather(AtomicFile(path, AtomicFormat()), np.array(["[PAD]", *(tokens[i] for i in order)]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not missing.any() and np.allclose(values[1:], row, atol=1e-4)
    return peak / values.nbytes


def test_memory_of_reading_text_stays_near_the_matrix(tmp_path: Path) -> None:
    # A chunk of up to 16 MB is read at a time: here all, so a second matrix; the ratio falls towards 1 with size.
    assert memory_of_reading(tmp_path, 1000, 1024) < 2.5


@pytest.mark.slow
def test_memory_at_the_size_of_amazon_baby(tmp_path: Path) -> None:
    assert memory_of_reading(tmp_path, 7050, 4096) < 1.5


def test_other_encodings_are_told(folder: Path) -> None:
    for name, modality in {"toy.visual.ids": "visual", "toy.sound": "sound"}.items():
        path = folder / name
        path.write_bytes(path.read_bytes().replace(b"\na", b"\n\xe9"))
        with pytest.raises(UserError, match=rf"{name}: b'\\xe9' is not utf-8"):
            load(folder, [modality])
    path = folder / "toy.item"
    path.write_bytes(path.read_bytes().replace(b"green", b"gr\xe9n"))
    with pytest.raises(UserError, match=r"toy.item: b'\\xe9' is not utf-8"):
        load(folder, {"title": {"source": "text"}})

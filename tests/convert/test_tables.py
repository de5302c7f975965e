"""Tables as they are read, and the type that a text column gets from what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_painvrl.convert.tables import guess_type, read_interactions, read_metadata


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2.5", ""], "float"),
        (["1", "V"], "token"),
        (["Action Comedy", "Drama"], "token_seq"),
        (["12 7 12", "3"], "token_seq"),
        (["0.5 1", "3 4"], "float_seq"),
        (["", ""], "token"),
        (["nan", "1"], "token"),
    ],
)
def test_guessed_types(values: list[str], expected: str) -> None:
    assert guess_type(values) == expected


def test_empty_texts_may_be_meant(tmp_path: Path) -> None:
    long = "x" * 200_000
    (tmp_path / "a.csv").write_text(f"user,item,tale,note\n0,1,{long},\n   \n1,2,b,c\n\n")
    assert read_interactions(tmp_path / "a.csv")["note"].tolist() == ["", "c"]
    (tmp_path / "items.csv").write_text("item,title\n0,\n1,b\n")
    assert read_metadata(tmp_path / "items.csv", "item")["title"].tolist() == ["", "b"]

"""The type that a text column gets from what it holds."""

from __future__ import annotations

import pytest

from recbole_painvrl.convert.tables import guess_type


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

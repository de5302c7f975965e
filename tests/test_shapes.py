"""What a reader needs of a file: keys, kinds, and a line that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from recbole_painvrl.errors import UserError
from recbole_painvrl.shapes import NUMBER, check_shape

NEEDED = {"name": str, "seed": int | None, "score": NUMBER, "files": [str], "tests": {"": {"": NUMBER | None}}}
GOOD = {"name": "a", "seed": 1, "score": 0.5, "files": ["x"], "tests": {"test": {"ndcg@10": None}}}


@pytest.mark.parametrize("change", [{}, {"seed": None}, {"score": 1}, {"files": []}, {"more": 1}, {"tests": {}}])
def test_what_has_the_kinds_passes(change: dict[str, Any]) -> None:
    check_shape("f.json", {**GOOD, **change}, NEEDED, "mend it")
    check_shape("f.json", {key: value for key, value in GOOD.items() if key != "seed"}, NEEDED, "mend it")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (3, "f.json: expected keys and values, found 3; mend it"),
        ({}, "f.json: expected name: str, found nothing; mend it"),
        ({**GOOD, "name": None}, "f.json: expected name: str, found None; mend it"),
        ({**GOOD, "seed": "1"}, "f.json: expected seed: int or None, found '1'; mend it"),
        ({**GOOD, "files": [1]}, "f.json: expected files: a list of str, found [1]; mend it"),
        (
            {**GOOD, "tests": {"test": 3}},
            "f.json: expected tests: a mapping to a mapping to int or float or None, found {'test': 3}; mend it",
        ),
    ],
)
def test_what_has_not_is_told(content: Any, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        check_shape("f.json", content, NEEDED, "mend it")
    assert str(caught.value) == complaint

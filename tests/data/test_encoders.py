"""Encoders of item metadata on inputs whose encoding is known."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_painvrl.data.encoders import count_words, encode_number, encode_tags, encode_text
from recbole_painvrl.errors import UserError


def test_tags_are_multi_hot_in_alphabetical_order() -> None:
    encoded = encode_tags(["", "war drama", "comedy", "drama drama", ""], " ")
    assert encoded.names == ("comedy", "drama", "war")
    assert encoded.values.tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert encoded.missing.tolist() == [True, False, False, False, True]


def test_words_are_counted() -> None:
    counts, words = count_words(["", "7 7 12", "12"], " ")
    assert words == ("12", "7")
    assert counts.toarray().tolist() == [[0, 0], [1, 2], [1, 0]] and counts.dtype == np.float32


def test_numbers_are_interpolated_between_quantiles() -> None:
    encoded = encode_number(["", "0", "10", "20", "5", "12"], dimension=2)
    expected = [[1, 0], [0.5, 0.5], [0, 1], [0.75, 0.25], [0.4, 0.6]]
    assert np.allclose(encoded.values[1:], expected) and encoded.names == ("0", "20")


def test_numbers_are_a_partition_of_one_that_any_line_fits() -> None:
    numbers = np.random.default_rng(0).lognormal(size=200)
    encoded = encode_number([repr(float(x)) for x in numbers], dimension=8)
    assert encoded.values.shape == (200, 8)
    assert np.allclose(encoded.values.sum(axis=1), 1) and ((encoded.values > 0).sum(axis=1) <= 2).all()
    knots = np.quantile(numbers, np.linspace(0, 1, 8))
    assert np.allclose(encoded.values @ knots, numbers, rtol=1e-4)


def test_unreadable_numbers_are_missing_and_told() -> None:
    encoded = encode_number(["", "1995", "V", "inf", "1997"], dimension=2)
    assert encoded.missing.tolist() == [True, False, True, True, False]
    assert encoded.note == "2 cells are not numbers (such as 'V') and count as missing"


def test_equal_numbers_leave_one_knot() -> None:
    assert encode_number(["3", "3", "x"], 8).values.tolist() == [[1], [1], [0]]


def test_equal_texts_are_equal_and_texts_without_a_common_word_orthogonal() -> None:
    texts = ["", "red apple", "green tree", "red apple", "tree green", "?"]
    encoded = encode_text(texts, dimension=64, seed=1)
    assert encoded.values.shape == (6, 4) and encoded.missing.tolist() == [True, False, False, False, False, True]
    similarity = encoded.values @ encoded.values.T
    assert np.allclose(similarity[1, [1, 3]], 1, atol=1e-5) and np.allclose(similarity[1, [2, 4]], 0, atol=1e-5)
    assert np.allclose(similarity[2, [2, 4]], 1, atol=1e-5)


def test_the_seed_decides_the_text_encoding() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(f"word{w}" for w in random.integers(0, 80, 6)) for _ in range(60)]
    assert np.array_equal(encode_text(texts, 8, 5).values, encode_text(texts, 8, 5).values)
    assert encode_text(texts, 8, 5).values.shape == (60, 8)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda: encode_text(["", "?"], 4, 0), "no item has a word"),
        (lambda: encode_text(["", ""], 4, 0), "no item has a word"),
        (lambda: encode_tags(["", ""], " "), "no item has a value"),
        (lambda: encode_number(["", "x"], 4), "no item has a number"),
        (lambda: encode_tags([str(i) for i in range(10_001)], " "), "10001 distinct tags"),
    ],
)
def test_fields_without_content_are_refused(encode: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        encode()

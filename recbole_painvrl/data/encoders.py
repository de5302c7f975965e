"""Features from item metadata: text, tags, a number, word counts. None of them looks at an interaction.

Every encoder takes one text an item, in item-id order, with the empty text for an item without metadata and for the
padding item 0. Letters: I items with the padding item, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import derive_seed

MAX_TAGS = 10_000


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of a metadata field.

    Attributes:
        values: Features, float32 [I, D]; rows of items without metadata are 0 and are filled later.
        missing: Whether the item has no usable metadata, bool [I].
        names: Meaning of each dimension, empty where dimensions have none.
        note: What a user should know of cells that could not be used, empty if there is nothing to say.
    """

    values: NDArray[Any]
    missing: NDArray[Any]
    names: tuple[str, ...] = ()
    note: str = ""


def encode_text(texts: Sequence[str], dimension: int, seed: int) -> Encoded:
    """Encodes texts by TF-IDF of their words, then truncated SVD.

    Args:
        texts: One text an item, length I.
        dimension: D wanted; fewer if there are fewer distinct words.
        seed: Seed of the SVD's random start.

    Returns:
        The encoded texts.

    Raises:
        UserError: No text has a word.

    Source:
        Deerwester et al., Indexing by Latent Semantic Analysis, JASIS 1990.
    """
    missing = np.array([not text.strip() for text in texts])
    present = np.flatnonzero(~missing)
    # Words of one letter count: there are films called M and Z.
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\b\w+\b")
    try:
        counts = vectorizer.fit_transform([texts[int(item)] for item in present])
    except ValueError as error:
        raise UserError(f"no item has a word ({error})") from error
    reduced = _reduced(counts, dimension, seed)
    values = np.zeros((len(texts), reduced.shape[1]), dtype=np.float32)
    values[present] = reduced
    # A text of which no word is in the vocabulary says as little as no text.
    missing[present[np.diff(counts.indptr) == 0]] = True
    return Encoded(values, missing)


def _reduced(counts: csr_matrix, dimension: int, seed: int) -> NDArray[Any]:
    """Returns the weights [I, words] in ``dimension`` dimensions at the most; a single word is its own dimension."""
    if counts.shape[1] == 1:
        alone: NDArray[Any] = counts.toarray()
        return alone
    # scikit-learn takes 32-bit seeds only.
    random_state = derive_seed(seed, "text") % 2**32
    svd = TruncatedSVD(n_components=min(dimension, counts.shape[1]), random_state=random_state)
    reduced: NDArray[Any] = svd.fit_transform(counts)
    return reduced


def encode_tags(texts: Sequence[str], separator: str) -> Encoded:
    """Encodes tags as one 0/1 dimension a tag, in alphabetical order.

    Args:
        texts: The tags of each item in one text, length I.
        separator: What parts two tags.

    Returns:
        The encoded tags, with the tags as names.

    Raises:
        UserError: No item has a tag, or there are more distinct tags than :data:`MAX_TAGS`.
    """
    matrix, names = count_words(texts, separator)
    if len(names) > MAX_TAGS:
        raise UserError(f"{len(names)} distinct tags are more than {MAX_TAGS}; use source: text or source: words")
    values = matrix.toarray()
    np.minimum(values, 1, out=values)
    return Encoded(values, np.diff(matrix.indptr) == 0, names)


def encode_number(texts: Sequence[str], dimension: int) -> Encoded:
    """Encodes a number by piecewise-linear (hat) functions on quantiles, so that a linear map of it can bend.

    The knots are the distinct values among ``dimension`` evenly spaced quantiles of the items' numbers. A number
    between two knots gets the two weights of linear interpolation, at a knot it gets 1, all others are 0; a row sums
    to 1. Outliers therefore cannot stretch the scale, and between two knots lie about equally many items.

    Args:
        texts: The number of each item as text, length I. Text that is no finite number counts as missing.
        dimension: Number of quantiles, at least 2; D may be smaller if many items share a value.

    Returns:
        The encoded numbers, with the knots as names and a note on unreadable cells.

    Raises:
        UserError: No item has a number.
    """
    numbers = pd.to_numeric(pd.Series(list(texts), dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    missing = ~np.isfinite(numbers)
    if missing.all():
        raise UserError("no item has a number")
    knots = np.unique(np.quantile(numbers[~missing], np.linspace(0, 1, dimension)))
    values = np.zeros((len(texts), len(knots)), dtype=np.float32)
    for dim, hat in enumerate(np.eye(len(knots))):
        values[~missing, dim] = np.interp(numbers[~missing], knots, hat)
    return Encoded(values, missing, tuple(f"{knot:g}" for knot in knots), _unreadable(texts, missing))


def _unreadable(texts: Sequence[str], missing: NDArray[Any]) -> str:
    """Says how many cells hold something that is no number."""
    bad = [texts[int(item)] for item in np.flatnonzero(missing) if texts[int(item)].strip()]
    return f"{len(bad)} cells are not numbers (such as {bad[0]!r}) and count as missing" if bad else ""


def count_words(texts: Sequence[str], separator: str) -> tuple[csr_matrix, tuple[str, ...]]:
    """Counts the words of each item.

    Args:
        texts: The words of each item in one text, length I; repeats count.
        separator: What parts two words.

    Returns:
        The counts, float32 CSR [I, number of words], and the words in alphabetical order.

    Raises:
        UserError: No item has a word.
    """
    lists = [[word for word in text.split(separator) if word] for text in texts]
    flat = [word for words in lists for word in words]
    if not flat:
        raise UserError("no item has a value in this field")
    columns, names = pd.factorize(np.array(flat, dtype=object), sort=True)
    rows = np.repeat(np.arange(len(texts)), [len(words) for words in lists])
    # Building CSR from pairs adds up the ones of repeats.
    ones = np.ones(len(flat), dtype=np.float32)
    return csr_matrix((ones, (rows, columns)), shape=(len(texts), len(names))), tuple(names)

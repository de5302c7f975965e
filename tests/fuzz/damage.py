"""Cells, numbers and bytes that go wrong: what a table, a pickle or a file may hold instead of what it should."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Texts that some reader has taken for a number, a missing value, two cells or the end of a file.
CELLS = (
    "",
    " ",
    "-1",
    "+1",
    "01",
    " 3",
    "3 ",
    "3.0",
    "1e3",
    "1_000",
    "0x1",
    "nan",
    "NaN",
    "NA",
    "None",
    "inf",
    "-inf",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999",
    "4294967296",
    "1099511627776",
    "9" * 5000,
    "x",
    "1;2",
    "1 2",
    "1,2",
    "1\t2",
    '"',
    '"1',
    '1"2',
    "'",
    "\\",
    "\x00",
    "\x1a",
    "\r",
    "\n",
    "\u2028",
    "\ufeff1",
    "²",
    "٣",
    "é",
    "true",
    "#1",
    "1\x1d2",
    "\ud7ff",
)
NUMBERS = (0, -1, 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30)
ODD = (*NUMBERS, 0.0, 1.0, 1.5, float("nan"), float("inf"), True, None, "1", "x", b"1", [], [1], (1,), {}, {1: 2}, 1j)
PIECES = (
    b"\x00",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b"\r\n",
    b"\t",
    b",",
    b" ",
    b'"',
    b"-",
    b"9" * 30,
    b"e",
    b"\x80\x04",
    b".",
    b"}",
    b"[",
    b"(",
    b"'",
    b"L",
    b"O",
    b"nan",
)

cells = st.sampled_from(CELLS) | st.text(max_size=4)
odd = st.sampled_from(ODD)
small = st.integers(0, 5)


def rarely(often: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any], of: int = 12) -> st.SearchStrategy[Any]:
    """Returns a strategy that takes ``seldom`` about once in ``of`` times; smaller cases never do."""
    return st.integers(1, of).flatmap(lambda number: seldom if number == of else often)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Returns bytes with one thing wrong: cut off, doubled, changed, with something put in, or in another encoding."""
    kind = draw(st.sampled_from(("cut", "insert", "change", "double", "empty", "utf-16", "latin-1", "crlf", "bom")))
    place = draw(st.integers(0, max(0, len(data) - 1)))
    if kind in ("utf-16", "latin-1"):
        return data.decode("latin-1").encode(kind)
    return {
        "cut": data[:place],
        "insert": data[:place] + draw(st.sampled_from(PIECES)) + data[place:],
        "change": data[:place] + draw(st.binary(min_size=1, max_size=1)) + data[place + 1 :],
        "double": data[:place] + data[: place + 1] + data[place:],
        "empty": b"",
        "crlf": data.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + data,
    }[kind]


@st.composite
def maybe_damaged(draw: st.DrawFn, files: dict[str, bytes], of: int = 3) -> dict[str, bytes | None]:
    """Returns the files of a folder, about one time in ``of`` with one damaged, gone, or a folder (None)."""
    result: dict[str, bytes | None] = dict(files)
    if not files or draw(st.integers(1, of)) < of:
        return result
    name = draw(st.sampled_from(sorted(files)))
    kind = draw(rarely(st.just("bytes"), st.sampled_from(("gone", "folder")), 6))
    if kind == "bytes":
        result[name] = draw(damaged(files[name]))
    elif kind == "gone":
        del result[name]
    else:
        result[name] = None
    return result

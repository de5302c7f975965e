"""Tables of a source as tables of RecBole's atomic files, columns named ``field:type``."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from recbole_painvrl.convert.raw import RawData, Words
from recbole_painvrl.convert.tables import LABELS, NUMBERS, guess_type, is_number
from recbole_painvrl.errors import UserError

IDS = {"user": "user_id:token", "item": "item_id:token"}
TYPES = ("token", "token_seq", "float", "float_seq")
PREFERRED = (*NUMBERS, *LABELS)


def interaction_tables(raw: RawData) -> dict[str, pd.DataFrame]:
    """Returns the atomic interaction table of each split; one field has one type in all of them."""
    tables = {name: split.table for name, split in raw.splits.items()}
    columns = list(dict.fromkeys(column for table in tables.values() for column in table if column not in IDS))
    columns.sort(key=lambda column: PREFERRED.index(column) if column in PREFERRED else len(PREFERRED))
    origins = ", ".join(split.origin for split in raw.splits.values())
    heads = dict.fromkeys(NUMBERS, "float") | dict.fromkeys(LABELS, "token")
    for column in columns:
        if column not in heads:
            parts = [table[column] for table in tables.values() if column in table]
            heads[column] = _type(column, parts, origins)
    return {
        name: _atomic(table, {column: heads[column] for column in columns if column in table}, list(IDS))
        for name, table in tables.items()
    }


def item_table(raw: RawData) -> pd.DataFrame:
    """Returns one row an item, [I], those without interaction included, with the metadata and the words."""
    table = pd.DataFrame({"item": raw.item_ids()})
    if raw.items is not None:
        table = table.merge(raw.items, on="item", how="left")
    table = _metadata(table, "item", "items.csv")
    if raw.words is not None:
        table["words:token_seq"] = _joined_words(raw.words, raw.item_ids())
    return table


def user_table(raw: RawData) -> pd.DataFrame | None:
    """Returns one row a user, [U], with the metadata; None if the source has none."""
    if raw.users is None:
        return None
    table = pd.DataFrame({"user": raw.user_ids()}).merge(raw.users, on="user", how="left")
    return _metadata(table, "user", "users.csv")


def _metadata(table: pd.DataFrame, key: str, origin: str) -> pd.DataFrame:
    table = table.fillna("")
    heads = {column: _type(column, [table[column]], origin) for column in table if column != key}
    return _atomic(table, heads, [key])


def _type(column: str, parts: Iterable[pd.Series], origin: str) -> str:
    """Returns the type of a column: what its name says after a colon, else guessed from the texts."""
    field, _, stated = column.partition(":")
    if not field or " " in field or "\t" in field:
        raise UserError(f"{origin}: '{column}' cannot name a field; use no space and at least one letter")
    texts = pd.unique(pd.concat(list(parts)))
    if not stated:
        return guess_type(texts)
    if stated not in TYPES:
        raise UserError(f"{origin}: column '{column}' asks for type '{stated}', expected one of {', '.join(TYPES)}")
    odd = [text for text in texts if text.strip() and not all(map(is_number, text.split()))]
    if stated.startswith("float") and odd:
        raise UserError(f"{origin}: column '{column}' holds '{odd[0]}', expected numbers")
    return stated


def _atomic(table: pd.DataFrame, heads: dict[str, str], keys: list[str]) -> pd.DataFrame:
    """Returns the ids and the fields of ``heads`` under their atomic names; runs of white space become one space."""
    columns: dict[str, pd.Series] = {IDS[key]: table[key] for key in keys}
    for column, kind in heads.items():
        values = table[column]
        columns[f"{column.split(':')[0]}:{kind}"] = _one_spaced(values) if values.dtype.kind == "O" else values
    return pd.DataFrame(columns)


def _one_spaced(values: pd.Series) -> pd.Series:
    """Returns texts with white space as single spaces; the work is done once a distinct text."""
    codes, texts = pd.factorize(values)
    return pd.Series(np.array([" ".join(text.split()) for text in texts], dtype=object)[codes], index=values.index)


def _joined_words(words: Words, item_ids: np.ndarray) -> list[str]:
    """Returns the word ids of each item, [I] texts, in the source's order and as often as they are there."""
    order = np.argsort(words.items, kind="stable")
    texts = words.words[order].astype(str)
    ends = np.searchsorted(words.items[order], item_ids, side="right")
    starts = np.searchsorted(words.items[order], item_ids, side="left")
    return [" ".join(texts[start:end]) for start, end in zip(starts, ends, strict=True)]

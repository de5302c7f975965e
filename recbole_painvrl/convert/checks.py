"""What must hold before anything is written; a data set that breaks it is refused, never mended by a guess."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from recbole_painvrl.convert.raw import FIRST_SPLITS, Feature, Options, RawData, Split
from recbole_painvrl.errors import UserError

BYTES_A_PIECE = 32 * 2**20
LARGEST = float(np.finfo(np.float32).max)  # of features, which are read in single precision
MOST_ITEMS = 10**8  # a stated number, which one wrong id may make too large for any memory
# Validation and test rows of published splits, where an exchange of the two has been seen or would go unnoticed.
KNOWN_COUNTS = {
    (3_051, 6_130): "TikTok of MMSSL and DiffMM",
    (79_809, 81_891): "TikTok of InvRL",
    (218_253, 164_554): "TikTok of Clickbait",
    (149_366, 174_487): "Movielens of CLCRec",
}


def check(raw: RawData, options: Options) -> dict[str, np.ndarray]:
    """Checks everything and returns the row norms, float64 [I], of each feature matrix.

    Raises:
        UserError: naming the file and the row or pair, if ids, counts, splits, columns or features are wrong.
    """
    if options.n_items is not None:
        raw.n_items, raw.stated_by = options.n_items, "--n_items"
    if raw.n_items is not None and raw.n_items > MOST_ITEMS:
        raise UserError(
            f"{raw.n_items:,} items ({raw.stated_by}) are more than the {MOST_ITEMS:,} that are written one row each; "
            "number the items from 0 without gaps"
        )
    check_row_counts(raw)
    check_ids(raw)
    check_pairs(raw.splits)
    check_label_order(raw, options)
    check_columns(raw)
    return {name: row_norms(feature) for name, feature in raw.features.items()}


def check_row_counts(raw: RawData) -> None:
    """Refuses feature matrices whose number of rows differs between them or from the stated number of items.

    Raises:
        UserError: They do; the message names the files and their rows.
    """
    counts = {feature.origin: feature.values.shape[0] for feature in raw.features.values()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{origin} has {count}" for origin, count in counts.items())
        raise UserError(f"feature matrices differ in their number of rows: {listed}; expected one row an item in each")
    for origin, count in counts.items():
        if raw.n_items is not None and count != raw.n_items:
            raise UserError(f"{origin} has {count} rows, expected {raw.n_items}, one an item ({raw.stated_by})")


def check_ids(raw: RawData) -> None:
    """Refuses ids below 0 or above what the features or the source state."""
    rows = next((feature.values.shape[0] for feature in raw.features.values()), None)
    n_items = raw.n_items if raw.n_items is not None else rows
    reason = raw.stated_by if raw.n_items is not None else "one feature row an item"
    for split in raw.splits.values():
        for column, size, why in (("user", raw.n_users, raw.stated_by), ("item", n_items, reason)):
            _check_range(split.table[column].to_numpy(), size, column, split, why)
    if raw.words is not None:
        _check_named(raw.words.items, n_items, raw.words.origin, reason)
    if raw.items is not None:
        _check_named(raw.items["item"].to_numpy(), n_items, "items.csv", reason)


def _check_range(ids: np.ndarray, size: int | None, column: str, split: Split, why: str) -> None:
    bad = np.flatnonzero((ids < 0) | (ids >= (np.iinfo(np.int64).max if size is None else size)))
    if not len(bad):
        return
    expected = "0 or more" if size is None else f"0 to {size - 1} ({why})"
    pair = tuple(split.table.loc[bad[0], ["user", "item"]].tolist())
    raise UserError(f"{split.place(bad[0])}: {column} {ids[bad[0]]} of the pair {pair} is outside, expected {expected}")


def _check_named(items: np.ndarray, n_items: int | None, origin: str, why: str) -> None:
    bad = np.flatnonzero((items < 0) | (items >= (np.iinfo(np.int64).max if n_items is None else n_items)))
    if len(bad):
        raise UserError(f"{origin} names item {items[bad[0]]}, but there are {n_items} items ({why})")


def check_pairs(splits: dict[str, Split]) -> None:
    """Refuses a pair that is twice in a split or in two splits; further test sets may share pairs with each other.

    Raises:
        UserError: There is one; the message names user, item and both places.
    """
    keys = _pair_keys(splits)
    for name, split in splits.items():
        _, first, counts = np.unique(keys[name], return_index=True, return_counts=True)
        if (counts > 1).any():
            again = np.flatnonzero(keys[name] == keys[name][first[counts > 1].min()])[1]
            raise UserError(f"{split.place(again)}: user {_pair(split, again)} is there twice; keep one of the rows")
    for earlier, later in combinations(splits, 2):
        if earlier.startswith("test"):
            continue
        shared = np.flatnonzero(np.isin(keys[later], keys[earlier]))
        if len(shared):
            place, pair = splits[later].place(shared[0]), _pair(splits[later], shared[0])
            raise UserError(f"{place}: user {pair} is also in {splits[earlier].origin}; splits must not share pairs")


def _pair_keys(splits: dict[str, Split]) -> dict[str, np.ndarray]:
    """Returns one int64 number [N] a pair, equal for equal pairs."""
    tables = [split.table for split in splits.values()]
    n_users = 1 + max(int(table["user"].max()) for table in tables)
    n_items = 1 + max(int(table["item"].max()) for table in tables)
    if n_users * n_items >= 2**63:
        raise UserError(f"ids run to user {n_users - 1} and item {n_items - 1}, too large: number them from 0")
    return {name: split.table["user"].to_numpy() * n_items + split.table["item"].to_numpy()
            for name, split in splits.items()}  # fmt: skip


def _pair(split: Split, row: int) -> str:
    return f"{split.table['user'][row]} with item {split.table['item'][row]}"


def check_label_order(raw: RawData, options: Options) -> None:
    """Refuses a known set whose validation and test are exchanged; elsewhere more validation than test is remarked.

    Raises:
        UserError: They are, and no option says what to do about it.
    """
    if not set(FIRST_SPLITS) <= set(raw.splits):
        return
    n_valid, n_test = len(raw.splits["valid"].table), len(raw.splits["test"].table)
    known = KNOWN_COUNTS.get((n_test, n_valid))
    if known is not None and not options.keep_labels:
        raise UserError(
            f"{raw.splits['valid'].origin} has {n_valid:,} validation and {n_test:,} test rows, but {known} has "
            "them the other way round; say --swap_labels to exchange them or --keep_labels to leave them"
        )
    if n_valid > n_test and (n_valid, n_test) not in KNOWN_COUNTS:
        raw.notes.append(f"more validation than test rows ({n_valid:,} > {n_test:,}); --swap_labels if exchanged")


def check_columns(raw: RawData) -> None:
    """Refuses a column that is in two tables, or has the name of a column of our own.

    Raises:
        UserError: There is one; the message names both owners.
    """
    if raw.words is not None and "words" in raw.features:
        raise UserError(f"{raw.features['words'].origin} and {raw.words.origin} are both modality 'words': rename one")
    owners = {"user_id": "the written user column", "item_id": "the written item column"}
    owners |= {} if raw.words is None else {"words": raw.words.origin}
    splits = {key: split.origin for split in raw.splits.values() for key in split.table}
    tables: list[tuple[dict[str, str], tuple[str, ...]]] = [(splits, ("user", "item"))]
    tables += [({key: "items.csv" for key in raw.items}, ("item",))] if raw.items is not None else []
    tables += [({key: "users.csv" for key in raw.users}, ("user",))] if raw.users is not None else []
    for columns, ids in tables:
        _check_spellings(columns, ids)
        for column, origin in columns.items():
            name = column.split(":")[0]
            if column not in ids and name in owners:
                raise UserError(f"{origin}: column '{column}' is also in {owners[name]}; rename one of the two")
        owners |= {column.split(":")[0]: origin for column, origin in columns.items() if column not in ids}


def _check_spellings(columns: dict[str, str], ids: tuple[str, ...]) -> None:
    """Refuses a field that is there twice, such as by the columns ``note`` and ``note:float``."""
    first: dict[str, str] = {}
    for column, origin in columns.items():
        name = column.split(":")[0]
        if column not in ids and first.setdefault(name, column) != column:
            raise UserError(f"{origin}: columns '{first[name]}' and '{column}' are both field '{name}'; rename one")


def row_norms(feature: Feature) -> np.ndarray:
    """Returns the Euclidean norm of each row, float64 [I], read in pieces.

    Raises:
        UserError: naming the first row that holds NaN, infinity, or what only double precision can hold.
    """
    values = feature.values
    norms = np.empty(len(values))
    step = max(1, BYTES_A_PIECE // (8 * values.shape[1]))
    for start in range(0, len(values), step):
        piece = np.asarray(values[start : start + step], dtype=np.float64)
        bad = np.flatnonzero(~(np.abs(piece) <= LARGEST).all(axis=1))
        if len(bad):
            expected = "holds NaN or infinity, expected finite numbers (of single precision)"
            raise UserError(f"{feature.origin}: row {start + bad[0]} {expected}")
        norms[start : start + step] = np.linalg.norm(piece, axis=1)
    return norms

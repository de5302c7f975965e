"""Format ``mmgcn``: the folders of MMGCN, GRCN, CLCRec and InvRL (Movielens, Tiktok, Kwai) and MMGCN's toy samples.

Users and items share one id space there: every interaction file adds the number of users to the item, and no file says
that number. Feature row = item id - number of users. The toy samples add nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recbole_painvrl.convert.modalities import as_feature, as_words, find_features, is_words, load_array, modality_name
from recbole_painvrl.convert.ragged import Pairs, load_dict, load_lists, load_old_or_full, load_train
from recbole_painvrl.convert.raw import WHOLE, Feature, Options, RawData, Split, Words, pairs_table
from recbole_painvrl.errors import UserError

HELD_OUT = {"valid": ("val_full.npy", "val.npy"), "test": ("test_full.npy", "test.npy")}
FURTHER_TESTS = ("test_cold", "test_warm")  # parts of CLCRec's test set
TRAIN_DICTS = ("user_item_dict.npy", "user_item_train_dict.npy", "adj_dict.npy", "final_adj_dict.npy", "adj.npy")
SAMPLE_DICT = "user_item_dict_sample.npy"
FEATURE = re.compile(r"(?:feat_([vat])|([vat])_feat(?:_sample)?|Feature(Video|Audio|Text)_\w+)\.(?:npy|pt)")
Named = dict[str, tuple[str, Pairs]]  # split -> (file, pairs)
EXPECTED = f"expected train.npy, val_full.npy and test_full.npy, or {TRAIN_DICTS[0]} or {SAMPLE_DICT} alone"


def read(folder: Path, options: Options) -> RawData:
    """Returns the data of a folder of the MMGCN family, items counted from 0."""
    pairs, notes = _interactions(folder)
    features, words = _features(folder)
    n_rows = options.n_items if options.n_items is not None else _n_rows(features)
    sample = WHOLE in pairs and pairs[WHOLE][0] == SAMPLE_DICT
    offset = _checked_offset(pairs, n_rows, 0 if sample and options.item_offset is None else options.item_offset)
    notes.append(f"item ids of the source are larger by {offset:,}" if offset else "item ids of the source start at 0")
    splits = {
        name: Split(pairs_table(users, items - offset, ordered=origin == "train.npy"), origin)
        for name, (origin, (users, items)) in pairs.items()
    }
    return RawData(splits, features, words, n_users=offset or None, stated_by="the item offset", notes=notes)


def _interactions(folder: Path) -> tuple[Named, list[str]]:
    """Returns the pairs by split, items still with their offset, and remarks.

    Raises:
        UserError: if a file of the layout is missing.
    """
    held_out = [name for names in HELD_OUT.values() for name in names if (folder / name).exists()]
    dicts = [name for name in (*TRAIN_DICTS, SAMPLE_DICT) if (folder / name).exists()]
    if (folder / "train.npy").exists() or held_out:
        return _splits(folder, dicts)
    if not dicts:
        raise UserError(f"{folder}: no interaction file found; {EXPECTED}")
    return {WHOLE: (dicts[0], load_dict(folder / dicts[0]))}, []


def _splits(folder: Path, dicts: list[str]) -> tuple[Named, list[str]]:
    """Returns the pairs of the split files, compared with the dict of the loaders where there is one."""
    missing = [] if (folder / "train.npy").exists() else ["train.npy"]
    missing += [full for full, old in HELD_OUT.values() if not (folder / full).exists() and not (folder / old).exists()]
    if missing:
        raise UserError(f"{folder}: {', '.join(missing)} not found; {EXPECTED}")
    pairs: Named = {"train": ("train.npy", load_train(folder / "train.npy"))}
    for split, (full, old) in HELD_OUT.items():
        name, load = (full, load_lists) if (folder / full).exists() else (old, load_old_or_full)
        pairs[split] = (name, load(folder / name))
    for name in FURTHER_TESTS:
        if (folder / f"{name}.npy").exists():
            pairs[name] = (f"{name}.npy", load_lists(folder / f"{name}.npy"))
    return pairs, [_compared(folder / name, pairs["train"][1]) for name in dicts]


def _compared(path: Path, train: Pairs) -> str:
    """Returns how the pairs of a dict differ from the training pairs, because its meaning varies between sets."""
    mapped = load_dict(path)
    width = max(int(mapped[1].max()), int(train[1].max())) + 1
    keys, train_keys = (users.astype(np.int64) * width + items for users, items in (mapped, train))
    more, fewer = len(np.setdiff1d(keys, train_keys)), len(np.setdiff1d(train_keys, keys))
    if not more and not fewer:
        return f"{path.name} holds the training interactions"
    return f"{path.name} holds {more:,} pairs that are not in train.npy and lacks {fewer:,} that are; it was not used"


def _features(folder: Path) -> tuple[dict[str, Feature], Words | None]:
    """Returns the feature matrices and, where the text file holds word ids, the words."""
    features: dict[str, Feature] = {}
    words = None
    for name, path in find_features(folder.iterdir(), _modality).items():
        values = load_array(path)
        if name == "textual" and is_words(values):
            words = as_words(values, path)
        else:
            features[name] = as_feature(values, path)
    return features, words


def _modality(path: Path) -> str | None:
    match = FEATURE.fullmatch(path.name)
    return modality_name(next(filter(None, match.groups()))) if match else None


def _n_rows(features: dict[str, Feature]) -> int | None:
    """Returns the number of feature rows, None without features; that all agree is checked with the other formats'."""
    return next((feature.values.shape[0] for feature in features.values()), None)


def _checked_offset(pairs: Named, n_rows: int | None, told: int | None) -> int:
    """Returns what the files add to an item id.

    Users are ``0..U-1`` and items ``U..U+I-1``, so U is above the largest user, not above the smallest item, and not
    below the largest item - I + 1. It is taken only if these leave one number.

    Raises:
        UserError: if no number or more than one is left, or the one that was told does not fit.
    """
    last_user = max(int(users.max()) for _, (users, _) in pairs.values())
    first_item = min(int(items.min()) for _, (_, items) in pairs.values())
    last_item = max(int(items.max()) for _, (_, items) in pairs.values())
    lowest = max(last_user + 1, 0 if n_rows is None else last_item - n_rows + 1)
    seen = f"users run to {last_user} and item ids from {first_item} to {last_item}"
    seen += "" if n_rows is None else f", and there are {n_rows} items with features"
    if told == 0 and n_rows is not None and last_item >= n_rows:
        raise UserError(f"item offset 0 does not fit: {seen}; say the offset with --item_offset=N")
    if told and not lowest <= told <= first_item:
        raise UserError(f"item offset {told} does not fit (--item_offset): {seen}; {_range(lowest, first_item)}")
    if told is None and lowest != first_item:
        raise UserError(f"the item offset is not certain: {seen}; {_range(lowest, first_item)}, say --item_offset=N")
    return lowest if told is None else told


def _range(lowest: int, highest: int) -> str:
    """Returns which offsets fit, for messages."""
    if lowest > highest:
        return "none fits where users and items share one id space, and 0 is right where both start at 0"
    return f"{lowest} to {highest} fit"

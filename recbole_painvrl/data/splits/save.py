"""Writes the sets of a split as atomic files, rows as they stand in the source, for others to use the same ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from recbole_painvrl.convert.write import new_folder
from recbole_painvrl.data.splits.applied import AppliedSplit
from recbole_painvrl.data.splits.table import SETS
from recbole_painvrl.errors import UserError


def split_name(split: AppliedSplit) -> str:
    """Returns ``<dataset>-<kind>-<hash>``; the hash is of the sets themselves, so equal names mean equal sets."""
    content = split.labels.astype(np.int8).tobytes() + split.source.rows.astype(np.int64).tobytes()
    return f"{split.source.files.dataset}-{split.settings['kind']}-{hashlib.sha256(content).hexdigest()[:8]}"


def save_split(split: AppliedSplit, parent: Path) -> Path:
    """Writes a split into a folder of its own below ``parent``, unless it is there already; returns the folder.

    Raises:
        UserError: The folder cannot be written.
    """
    folder = parent / split_name(split)
    if folder.is_dir():
        return folder
    try:
        with new_folder(folder, overwrite=False) as partial:
            write_sets(split, partial, split.source.files.dataset)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another output_dir"
        ) from error
    except UserError:
        if not folder.is_dir():  # another run that finished first wrote the same sets
            raise
    return folder


def write_sets(split: AppliedSplit, folder: Path, name: str) -> None:
    """Writes ``<name>.<set>.inter`` for each set and ``split.json`` into an existing folder."""
    files = split.source.files
    separator = files.form.field_separator
    header = separator.join(f"{column}:{kind}" for column, kind in files.columns.items())
    for number, part in enumerate(SETS):
        rows = np.sort(split.source.rows[split.labels == number])
        if len(rows):
            lines = [header, *map(separator.join, files.rows.iloc[rows].itertuples(index=False, name=None))]
            text = "\n".join(lines) + "\n"
            (folder / f"{name}.{part}.inter").write_text(text, encoding=files.form.encoding, newline="\n")
    (folder / "split.json").write_text(json.dumps(description(split), indent=1) + "\n", encoding="utf-8")


def description(split: AppliedSplit) -> dict[str, Any]:
    """Returns what ``split.json`` holds: the source, the settings, what was drawn, counts, and what was dropped."""
    return {
        "dataset": split.source.files.dataset,
        "settings": split.settings,
        "details": split.details,
        "sets": split.statistics,
        "dropped": split.dropped,
    }

"""What the data files of a run hold, so that what was made of other contents is not taken for the same.

A folder's name tells files by their names and sizes, which another encoder's features share. ``data.json`` of a run
keeps a digest of each file: of all of it, or of blocks spread evenly over a file that is large, since features of
another encoder differ everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import DATA

BLOCK, BLOCKS = 1 << 16, 256  # bytes of a block, and how many of them are looked at in a large file


def data_contents(files: Mapping[str, Path]) -> dict[str, str]:
    """Returns a digest of each file by its name; a file that has not been touched is read once."""
    return {name: _digest(path, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files.items()}


def check_same_data(folder: str | Path, files: Mapping[str, Path]) -> None:
    """Makes sure that what ``folder`` holds was made of the present contents of the data files.

    Args:
        folder: A run's folder, finished or not; without ``data.json`` nothing can be told and all is well.
        files: The data files that the run would read now, by their names.

    Raises:
        UserError: A file has other contents, is new or is gone, or ``data.json`` is damaged.
    """
    file = Path(folder) / DATA
    if not os.path.isfile(file):  # also where the folder cannot be looked into, which only that run has to be told
        return
    try:
        before = {str(name): str(digest) for name, digest in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); delete {folder} to run again") from error
    now = data_contents(files)
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        raise UserError(
            f"{folder} was made of other data: {', '.join(changed)} changed since; choose another output_dir, or "
            "delete the folder to run again"
        )


@lru_cache(maxsize=1024)
def _digest(path: Path, size: int, _changed: int) -> str:
    """Returns the SHA-256 of a file's size and contents, or of BLOCKS blocks of them."""
    found = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= BLOCK * BLOCKS:
            found.update(file.read())
        else:
            for number in range(BLOCKS):
                file.seek(number * (size - BLOCK) // (BLOCKS - 1))
                found.update(file.read(BLOCK))
    return found.hexdigest()

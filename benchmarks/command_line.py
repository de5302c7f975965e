"""What the commands that write tables share: keys from the command line, and where a table goes."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_painvrl.files import atomic_file


def add_keys(parser: argparse.ArgumentParser, whose: str = "runs") -> None:
    """Adds ``--set KEY=VALUE``, to be given as often as one likes."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=f"a key for all {whose}")


def given_keys(given: argparse.Namespace) -> dict[str, str]:
    """Returns the keys given by ``--set``, their values as they were written."""
    return dict(pair.split("=", 1) for pair in given.set)


def write(path: Path, text: str) -> None:
    """Writes a table at once or not at all, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(text.encode())

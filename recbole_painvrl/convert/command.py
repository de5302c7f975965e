"""``recbole-painvrl convert FORMAT SOURCE --name NAME``: raw data to a RecBole data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from recbole_painvrl.convert import csv_folder, mmgcn, mmrec, mmssl
from recbole_painvrl.convert.checks import check
from recbole_painvrl.convert.modalities import PLAIN
from recbole_painvrl.convert.raw import FIRST_SPLITS, Options, RawData
from recbole_painvrl.convert.summary import Summary, summarize
from recbole_painvrl.convert.write import write
from recbole_painvrl.errors import UserError, nearest

FORMATS: dict[str, Callable[[Path, Options], RawData]] = {
    "csv": csv_folder.read,
    "mmgcn": mmgcn.read,
    "mmssl": mmssl.read,
    "mmrec": mmrec.read,
}
FORMATS_OF_OPTION = {"item_offset": "mmgcn", "core": "mmssl"}


def convert(
    format: str, source: str | Path, name: str, data_path: str | Path = "dataset", **options: bool | int | None
) -> Summary:
    """Converts the folder ``source`` to the data set ``data_path/name`` and returns its counts.

    Args:
        format: one of ``FORMATS``.
        source: folder of the raw files.
        name: name of the data set.
        data_path: folder of data sets.
        **options: attributes of :class:`recbole_painvrl.convert.raw.Options`.

    Raises:
        UserError: if the arguments or the files cannot be used; nothing is written then.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format '{format}', expected one of {', '.join(FORMATS)}.{nearest(format, FORMATS)}")
    chosen = _options(format, options)
    folder, target = Path(source), Path(data_path) / name
    try:
        _check_place(folder, target, name, chosen.overwrite)
        raw = FORMATS[format](folder, chosen)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read ({error.strerror or error})") from error
    if chosen.swap_labels:
        _swap_labels(raw)
    norms = check(raw, chosen)
    write(raw, target, chosen.overwrite)
    return summarize(raw, norms, str(target))


def _options(format: str, values: dict[str, bool | int | None]) -> Options:
    """Returns the options, refusing unknown names, numbers out of range and what the format does not know."""
    known = [option.name for option in fields(Options)]
    for option, value in values.items():
        if option not in known:
            raise UserError(f"unknown option '{option}', expected one of {', '.join(known)}.{nearest(option, known)}")
        if isinstance(value, int) and value < (option in ("n_items", "core")):
            raise UserError(f"--{option}={value}: expected {'1' if option != 'item_offset' else '0'} or more")
        if value is not None and FORMATS_OF_OPTION.get(option, format) != format:
            raise UserError(f"--{option} is for format {FORMATS_OF_OPTION[option]} only, not for {format}")
    if values.get("swap_labels") and values.get("keep_labels"):
        raise UserError("--swap_labels and --keep_labels contradict each other: say one of them")
    return Options(**values)  # type: ignore[arg-type]  # each name is a field's, and only flags are bool


def _check_place(folder: Path, target: Path, name: str, overwrite: bool) -> None:
    """Refuses a name that is no plain name, a source that is no raw folder, and a target that would be lost."""
    if not PLAIN.fullmatch(name):
        raise UserError(f"--name '{name}' is no plain name; use letters, digits, '_', '-' and '.', a letter first")
    if not folder.is_dir():
        found = "not a folder" if folder.exists() else "not found"
        raise UserError(f"{folder}: {found}, expected the folder of raw files")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; choose another --name or say --overwrite")
    if target.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError(f"{target}: holds the source itself, which would be overwritten; choose another --name")
    for path in sorted(folder.glob("*.inter")):
        with open(path, encoding="utf-8", errors="replace") as handle:
            if ":token" in handle.readline():
                raise UserError(
                    f"{path}: the folder holds RecBole atomic files already, nothing to convert; put it at {target} "
                    "with the files named like the folder"
                )


def _swap_labels(raw: RawData) -> None:
    """Exchanges validation and test."""
    if not set(FIRST_SPLITS) <= set(raw.splits):
        raise UserError("--swap_labels: the source has no validation and test set to exchange")
    raw.splits["valid"], raw.splits["test"] = raw.splits["test"], raw.splits["valid"]
    raw.notes.append("validation and test were exchanged (--swap_labels)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to ``parser``."""
    parser.add_argument("format", metavar="FORMAT", help=f"layout of the raw files: {', '.join(FORMATS)}")
    parser.add_argument("source", metavar="SOURCE", help="folder of the raw files")
    parser.add_argument("--name", required=True, help="name of the data set to write")
    parser.add_argument("--data_path", default="dataset", help="folder of data sets (default: dataset)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of this name")
    parser.add_argument("--swap_labels", action="store_true", help="exchange validation and test")
    parser.add_argument("--keep_labels", action="store_true", help="keep them where counts look exchanged")
    parser.add_argument("--n_items", type=int, metavar="I", help="number of items (default: from the files)")
    parser.add_argument("--item_offset", type=int, metavar="N", help="mmgcn: what the files add to an item id")
    parser.add_argument("--core", type=int, metavar="K", help="mmssl: read the folder K-core")


def run(arguments: argparse.Namespace) -> None:
    """Converts as the parsed ``arguments`` say and prints the summary."""
    options = {option.name: getattr(arguments, option.name) for option in fields(Options)}
    print(convert(arguments.format, arguments.source, arguments.name, arguments.data_path, **options).text())

"""Packs the records behind a table, without models, so that anyone can test it again or go on with it.

    python -m benchmarks.records runs/comparisons/HASH ... [runs/searches/HASH ...] --output results/records/NAME.tar.xz
    tar -xf results/records/NAME.tar.xz    # in the repository's root, into runs/

Of each comparison there are its own file, the runs of its cells (configuration, events, results, the values of each
user) and the searches that tuned them; a search that has not ended is named itself. The command of the comparison then
finds all of it done, for what a run is called follows from its configuration, and makes only what is missing.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

from recbole_painvrl.files import atomic_file
from recbole_painvrl.report.cells import COMPARISON
from recbole_painvrl.report.records import DATA, PER_USER, PER_USER_RHO

RUN = ("config.yaml", DATA, "records.jsonl", "result.json", PER_USER, PER_USER_RHO, "groups.csv", "mask.csv", "done")
SEARCH = ("search.json", "trials.jsonl")
TRIAL = ("trial.yaml", "records.jsonl", "validation.json")
DATA_PATH = re.compile(rb"^( *)data_path: .*$", re.MULTILINE)  # says nothing but where the data lay on one machine


def files_of(folder: Path) -> Iterable[Path]:
    """Yields the files of a search, or of a comparison, its finished runs and its searches.

    Args:
        folder: ``<output_dir>/comparisons/<hash>`` or ``<output_dir>/searches/<hash>``.
    """
    yield from files_of_comparison(folder) if (folder / COMPARISON).exists() else files_of_search(folder)


def files_of_comparison(comparison: Path) -> Iterable[Path]:
    """Yields the files of a comparison, its finished runs and its searches."""
    record = json.loads((comparison / COMPARISON).read_text(encoding="utf-8"))
    yield comparison / COMPARISON
    for cell in record["cells"]:
        if cell["state"] == "done":
            yield from found(Path(cell["folder"]), RUN)
    for tuned in record["tuned"]:
        yield from files_of_search(Path(tuned["search"]))


def files_of_search(search: Path) -> Iterable[Path]:
    """Yields the files of a search and of its finished trials."""
    yield from found(search, SEARCH)
    for done in sorted(search.glob("trials/*/validation.json")):
        yield from found(done.parent, TRIAL)


def found(folder: Path, patterns: Iterable[str]) -> Iterable[Path]:
    """Yields the files of a folder that match one of the patterns."""
    for pattern in patterns:
        yield from sorted(folder.glob(pattern))


def pack(folders: Iterable[Path], target: Path) -> int:
    """Writes the archive, the same bytes for the same records, and returns how many files are in it."""
    names = sorted({path for folder in folders for path in files_of(folder)})
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as file, tarfile.open(fileobj=file, mode="w:xz") as archive:
        for path in names:
            content = path.read_bytes()
            if path.suffix == ".yaml":
                content = DATA_PATH.sub(rb"\1data_path: dataset", content)
            entry = tarfile.TarInfo(path.as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return len(names)


def main() -> None:
    """Reads the command line and packs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    print(f"{given.output}: {pack(given.folders, given.output)} files")


if __name__ == "__main__":
    main()

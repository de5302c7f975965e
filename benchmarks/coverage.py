"""Runs the suite under coverage.py and writes what it reached: lines and branches by package.

    python -m benchmarks.coverage [--output results/coverage.md] [pytest options ...]

Ends with status 1 if a test fails, or if a package that carries the mathematics and the numbers falls below 90 % of its
lines or of its branches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "recbole_painvrl"
HELD = ("invariance", "report", "evaluator", "data")
LEAST = 90.0
COUNTS = ("covered_lines", "num_statements", "covered_branches", "num_branches")
HEAD = """# What the tests reach

Share of the lines and of the branches (both ways of every condition) that the fast suite runs, without the slow tests.
In bold the packages that have to stay above {least:g} % of both. A process that a signal ends reports nothing of what
it ran; a Ray cluster or a GPU is reached by slow tests and other machines alone.

| package | lines | of them run | branches | of them taken |
| --- | --- | --- | --- | --- |
"""


def main() -> int:
    """Runs the suite, writes the table; returns the status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        data = f"--data-file={folder}/coverage"
        ended = _coverage("run", data, "-m", "pytest", *options)
        _coverage("combine", "-q", data, folder)
        _coverage("json", "-q", data, f"-o{folder}/coverage.json")
        files = json.loads(Path(folder, "coverage.json").read_text(encoding="utf-8"))["files"]
    counts = by_package(files)
    text = table(counts)
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    return int(ended != 0 or any(min(shares(counts[name])) < LEAST for name in HELD))


def by_package(files: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Returns :data:`COUNTS` by package, of the files of a coverage report; modules of no package count as ``.``."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for file, content in sorted(files.items()):
        parts = Path(file).parts
        inner = parts[parts.index(PACKAGE) + 1 :]
        name = inner[0] if len(inner) > 1 else "."
        for key in COUNTS:
            counts[name][key] += content["summary"][key]
    return counts


def shares(count: Mapping[str, int]) -> tuple[float, float]:
    """Returns the percentages of lines and of branches; of nothing, all is reached."""
    lines, statements, branches, ways = (count[key] for key in COUNTS)
    return 100 * lines / (statements or 1), 100 * branches / ways if ways else 100.0


def table(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Returns the page."""
    whole = {key: sum(count[key] for count in counts.values()) for key in COUNTS}
    rows = [_row(f"**{name}**" if name in HELD else name, count) for name, count in sorted(counts.items())]
    return HEAD.format(least=LEAST) + "".join([*rows, _row("all", whole)])


def _row(name: str, count: Mapping[str, int]) -> str:
    lines, branches = shares(count)
    return f"| {name} | {count[COUNTS[1]]:,} | {lines:.1f} % | {count[COUNTS[3]]:,} | {branches:.1f} % |\n"


def _coverage(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

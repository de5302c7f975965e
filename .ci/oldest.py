"""Prints pip's constraints for the oldest versions that setup.py admits, those named on the command line left out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.py"
OLDEST = re.compile(r"(?P<name>[\w-]+)(\[[\w,]+\])?(>=|==)(?P<version>[\d.]+)")


def requirements() -> Iterator[str]:
    """Yields every requirement of setup.py, of the package and of its extras."""
    for statement in ast.parse(SETUP.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).endswith(("_REQUIRES", "_REQUIRE")):
            value = ast.literal_eval(statement.value)
            for group in value.values() if isinstance(value, dict) else [value]:
                yield from group


def constraints(left_out: list[str]) -> list[str]:
    """Returns a line for every requirement with a lower bound."""
    found = [match for match in map(OLDEST.match, requirements()) if match]
    return sorted({f"{match['name']}=={match['version']}" for match in found if match["name"] not in left_out})


if __name__ == "__main__":
    print("\n".join(constraints(sys.argv[1:])))

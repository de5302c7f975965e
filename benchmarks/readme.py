"""Copies the tables of results/ to their places in README, so that no figure there is typed by hand.

    python -m benchmarks.readme

A place is what stands between ``<!-- results/FILE.md -->`` and ``<!-- /results/FILE.md -->``. One that begins with
``<!-- results/FILE.md by section -->`` holds the file's sections in one table, a line for each and test set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks.many_runs import markdown

ROOT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"<!-- (?P<file>results/[\w.-]+\.md)(?P<form> by section)? -->\n.*?<!-- /(?P=file) -->", re.DOTALL)


def tables(text: str) -> str:
    """Returns the tables of a file, each under its section's title in bold where the file has sections."""
    kept = []
    for line in text.splitlines():
        if line.startswith("## "):
            kept += ["", f"**{line.removeprefix('## ')}**", ""]
        elif line.startswith("|"):
            kept.append(line)
    return "\n".join(kept).strip()


def by_section(text: str) -> str:
    """Returns one table of what the sections' tables say: a line for each section and column that a p stands beside.

    The columns are the sections' rows, each with its p in brackets.
    """
    found: list[list[str]] = []
    names: list[str] = []
    for title, (header, _, *rows) in sections(text):
        for place, (column, beside) in enumerate(pairwise(header)):
            if beside == "p":
                cells = [f"{row[place]} ({row[place + 1]})" if row[place + 1] else row[place] for row in rows]
                found.append([title, column, *cells])
                names = [row[0] for row in rows]
    return markdown(["", "", *names], found).strip()


def sections(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yields the title and the table, a list of cells a line, of each section of a file."""
    for section in text.split("\n## ")[1:]:
        title, *lines = section.splitlines()
        yield title, [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def filled(readme: str) -> str:
    """Returns README with every place holding the present tables of its file."""

    def place(match: re.Match[str]) -> str:
        name, form = match["file"], match["form"] or ""
        text = (ROOT / name).read_text(encoding="utf-8")
        return f"<!-- {name}{form} -->\n\n{by_section(text) if form else tables(text)}\n\n<!-- /{name} -->"

    return PLACE.sub(place, readme)


def main() -> None:
    """Rewrites README where a table has changed."""
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

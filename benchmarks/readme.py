"""Copies the tables of results/ to their places in README, so that no figure there is typed by hand.

    python -m benchmarks.readme

A place is what stands between ``<!-- results/FILE.md -->`` and ``<!-- /results/FILE.md -->``.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"<!-- (results/[\w.-]+\.md) -->\n.*?<!-- /\1 -->", re.DOTALL)


def tables(text: str) -> str:
    """Returns the tables of a file, each under its section's title in bold where the file has sections."""
    kept = []
    for line in text.splitlines():
        if line.startswith("## "):
            kept += ["", f"**{line.removeprefix('## ')}**", ""]
        elif line.startswith("|"):
            kept.append(line)
    return "\n".join(kept).strip()


def filled(readme: str) -> str:
    """Returns README with every place holding the present tables of its file."""

    def place(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- {name} -->\n\n{tables((ROOT / name).read_text(encoding='utf-8'))}\n\n<!-- /{name} -->"

    return PLACE.sub(place, readme)


def main() -> None:
    """Rewrites README where a table has changed."""
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

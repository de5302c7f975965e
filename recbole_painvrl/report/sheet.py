"""The folder a report is written to: every picture with its numbers beside it, every table with its rule."""

from __future__ import annotations

import csv
import io
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file
from recbole_painvrl.report.selection import Rule

LETTERS_AN_INCH = 10.0  # of a title
MOST_LINES = 4  # of a title on a picture; its caption has all of it
LONGEST = 80  # letters of a data set's name in a file's
Cell = str | int | float | None


class Absent(Exception):
    """The records lack what a picture shows; the message says what."""


@dataclass(frozen=True)
class Drawing:
    """A picture that is not written yet.

    Attributes:
        title: Title, also its caption in the report.
        note: How to read it.
        figure: matplotlib's figure.
        header: Columns of its numbers.
        rows: Its numbers.
    """

    title: str
    note: str
    figure: Any
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]


@dataclass
class Sheet:
    """Writes pictures and tables into one folder.

    Args:
        folder: The folder; it is created.
        rule: The selection rule; its label is on all that is written.
        png: Whether to write pictures as PNG too.

    Raises:
        UserError: The folder cannot be created or written to.
    """

    folder: Path
    rule: Rule
    png: bool = False
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--output={self.folder}: cannot be created ({error.strerror or error})") from error
        if not os.access(self.folder, os.W_OK):
            raise UserError(f"--output={self.folder}: cannot be written to; choose another folder")

    def picture(self, name: str, drawing: Drawing) -> str:
        """Writes a picture and its numbers as ``<name>.svg`` and ``<name>.csv``; returns the name without extension."""
        stem = self.free_name(name)
        width = int(LETTERS_AN_INCH * drawing.figure.get_figwidth())
        title = textwrap.fill(drawing.title, width, max_lines=MOST_LINES, placeholder=" ...")
        drawing.figure.suptitle(self.titled(title), fontsize=10.5, fontweight="bold")
        self._save(drawing.figure, stem, "svg", {"Date": None, "Creator": None})
        if self.png:
            self._save(drawing.figure, stem, "png", {"Software": None})
        self.table(stem, drawing.header, drawing.rows)
        return stem

    def titled(self, title: str) -> str:
        """Returns ``title``, with a warning where the rule does not allow claims."""
        return title if self.rule.allowed else f"{title}\n[{self.rule.label}]"

    def table(self, stem: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Writes ``<stem>.csv`` with a last column ``rule``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*header, "rule"])
        writer.writerows([*map(_cell, row), self.rule.label] for row in rows)
        self.text(f"{stem}.csv", text.getvalue())

    def text(self, name: str, text: str) -> None:
        """Writes a text file."""
        with atomic_file(self.folder / name, "--output") as file:
            file.write(text.encode())

    def _save(self, figure: Any, stem: str, kind: str, metadata: dict[str, None]) -> None:
        with atomic_file(self.folder / f"{stem}.{kind}", "--output") as file:
            figure.savefig(file, format=kind, metadata=metadata)

    def free_name(self, name: str) -> str:
        """Returns ``name`` as a file's name without extension that nothing was written under, and keeps it."""
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
        while stem in self.written:
            stem += "_"
        self.written.append(stem)
        return stem


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return format(value, ".8g") if isinstance(value, float) else str(value)


def in_file_name(dataset: str) -> str:
    """Returns a data set's name, which may say much of its protocol, as the beginning of a file's name."""
    return dataset[:LONGEST].rstrip().replace(" ", "_")

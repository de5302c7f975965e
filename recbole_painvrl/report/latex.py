r"""A leaderboard as a ``tabular`` in the manner of the package booktabs, to be read by ``\input``."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_painvrl.report.leaderboard import TIED, TOP, UNTESTED, Entry, Leaderboard, Line
from recbole_painvrl.report.selection import Rule

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "\n": " ",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
}
SIGNS = {TIED: r"$^{\dagger}$", UNTESTED: r"$^{\ddagger}$"}


def escape(text: str) -> str:
    """Returns ``text`` so that LaTeX sets its letters and nothing else."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def tabular(board: Leaderboard, rule: Rule) -> str:
    r"""Returns the table, with the package and the signs it needs in a comment.

    Best values are bold; a dagger marks those that do not differ from the best significantly.
    """
    width = 3 + len(board.columns)
    lines = [
        f"% {_comment(board.dataset)}, {_comment(board.metric)}, selection rule: {_comment(rule.label)}",
        "% needs \\usepackage{booktabs}; bold: best, dagger: not significantly different from it, double dagger: not "
        "tested",
        f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        "\\toprule",
        _line(["model", "runs", "$\\rho$", *map(escape, board.columns)]),
        "\\midrule",
        *(_line(_cells(line)) for line in board.chosen),
    ]
    for one in board.failures:
        seeds = escape(" ".join(map(str, one.seeds)))
        reason = f"\\multicolumn{{{width - 2}}}{{l}}{{{escape(one.reason)} (seeds {seeds})}}"
        lines.append(_line([escape(one.model), "0", reason]))
    if board.others:
        lines += ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{not chosen}} \\\\"]
        lines += [_line(_cells(line)) for line in board.others]
    if not rule.allowed:
        lines += ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{{escape(rule.label)}}} \\\\"]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _comment(text: str) -> str:
    return " ".join(text.split())


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cells(line: Line) -> list[str]:
    return [escape(line.name), *map(escape, line.first_cells), *map(_value, line.cells.values())]


def _value(cell: Entry) -> str:
    text = escape(cell.text)
    return f"\\textbf{{{text}}}" if cell.standing == TOP else text + SIGNS.get(cell.standing, "")

"""Made-up and damaged input for every reader and stage, new cases each time, with the figures written to a table.

    python -m benchmarks.fuzz --output results/fuzz.md

Every case has to end in a correct result or in one line that says what to mend, see ``tests/fuzz``. A failure is
counted, the smallest case that shows it goes to standard error, the other targets go on, and the status is 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from pathlib import Path

from benchmarks.many_runs import markdown
from tests.fuzz.target import Figures, Target, run
from tests.fuzz.targets import TARGETS

HEADER = ["target", "cases", "correct result", "refused in one line", "failures"]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the cases of the slow suite (default 1: 10,000 or more)"
    )
    parser.add_argument("--targets", default="", help="only those whose name holds this text")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def figures_of(target: Target, share: float) -> Figures:
    """Runs the cases of a target; a failure is told on standard error."""
    figures = Figures()
    try:
        run(target, "slow", max(1, round(share * target.slow)), figures)
    except Exception as error:  # whatever it is, the other targets go on
        traceback.print_exc()
        figures.failure = f"{type(error).__name__}: {error}".splitlines()[0]
    return figures


def text(found: dict[str, Figures]) -> str:
    """Returns the table; a target stops at its first failure."""
    rows = [
        [name, f"{one.cases:,}", f"{one.ends['correct']:,}", f"{one.ends['refused']:,}", one.failure or "0"]
        for name, one in found.items()
    ]
    totals = [sum(one.cases for one in found.values())]
    totals += [sum(one.ends[end] for one in found.values()) for end in ("correct", "refused")]
    rows.append(["all", *(f"{total:,}" for total in totals), str(sum(bool(one.failure) for one in found.values()))])
    about = (
        "Cases made by hypothesis, each in a folder of its own. Correct: counts, ids and numbers were checked; "
        "refused: one line that names file, row or key, and nothing left behind. A failure is any other exception, "
        "a hang, a number that is none, or half an output."
    )
    return f"# Made-up and damaged input\n\n{about}\n\n{markdown(HEADER, rows)}\n"


def main() -> int:
    """Runs all targets and writes the table; returns the exit status."""
    given = arguments()
    logging.disable(logging.WARNING)  # what RecBole remarks of ten thousand odd data sets
    found = {}
    for target in TARGETS:
        if given.targets in target.name:
            found[target.name] = figures_of(target, given.share)
            print(f"{target.name}: {found[target.name]}", flush=True)
    given.output.write_text(text(found), encoding="utf-8")
    return int(any(one.failure for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())

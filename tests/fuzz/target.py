"""What a target of the fuzz suite is, and how its cases are run and counted."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from recbole_painvrl.errors import UserError

SECONDS_A_CASE = 60  # what takes longer counts as a hang: the slowest case takes two on a busy machine
LONGEST_LINE = 2_000
_COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "report_multiple_bugs": False,
}
settings.register_profile("fuzz-quick", derandomize=True, **_COMMON)
settings.register_profile("fuzz-slow", print_blob=True, **_COMMON)


class HungError(Exception):
    """A case went on for too long."""


@dataclass(frozen=True)
class Target:
    """One reader or stage that made-up input is given to.

    Attributes:
        name: What it is called in tables.
        cases: Makes the input.
        check: Gives one case to the package, in an empty folder of its own, and checks the result. A refusal leaves
            as a ``UserError``; anything else that is raised is a failure.
        quick: Cases in the ordinary test suite.
        slow: Cases in the slow suite.
        names: Of these, a refusal's line names at least one, so that a user finds the place.
    """

    name: str
    cases: SearchStrategy[Any]
    check: Callable[[Any, Path], None]
    quick: int
    slow: int
    names: tuple[str, ...] = ()


@dataclass
class Figures:
    """How the cases of a target ended; ``failure`` is the first line of what should not have happened."""

    cases: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    failure: str = ""


def run(target: Target, profile: str, examples: int, figures: Figures | None = None) -> Figures:
    """Runs cases of a target and returns how they ended; a failure is raised with the smallest case that shows it.

    Args:
        target: The target.
        profile: ``quick``, the same cases each time, or ``slow``, new ones each time.
        examples: How many.
        figures: Where they are counted, for a caller that wants to know them also of a failure.
    """
    figures = figures if figures is not None else Figures()
    phases = (Phase.explicit, Phase.generate, Phase.shrink)  # not explain, which takes minutes
    chosen = settings(settings.get_profile(f"fuzz-{profile}"), max_examples=examples, phases=phases)

    @chosen
    @given(target.cases)
    def holds(case: Any) -> None:
        figures.cases += 1
        figures.ends[_end(target, case)] += 1

    with _no_sync():
        holds()
    return figures


def _end(target: Target, case: Any) -> str:
    """Returns how one case ended: ``correct`` or ``refused``."""
    with tempfile.TemporaryDirectory() as folder, _limited(SECONDS_A_CASE):
        try:
            target.check(case, Path(folder))
        except UserError as error:
            check_line(str(error), target.names)
            return "refused"
        return "correct"


def check_line(line: str, names: tuple[str, ...] = ()) -> None:
    """Makes sure that a refusal is one line, of a length to be read, that names a place."""
    assert line.strip() and len(line.splitlines()) == 1 and line.isprintable(), f"not one line: {line!r}"
    assert len(line) <= LONGEST_LINE, f"a line of {len(line)} characters: {line[:200]!r} ..."
    assert not names or any(re.search(name, line) for name in names), f"names none of {names}: {line!r}"


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raises :class:`HungError` in what takes longer."""

    def stop(_number: int, _frame: Any) -> None:
        raise HungError(f"not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _no_sync() -> Iterator[None]:
    """Leaves out what makes files outlive a power cut, which no case is about and every case would wait for."""
    before, os.fsync = os.fsync, lambda _file: None
    try:
        yield
    finally:
        os.fsync = before

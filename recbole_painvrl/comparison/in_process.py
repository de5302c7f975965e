"""Runs one after the other, in this process, with their logs on the terminal."""

from __future__ import annotations

import sys
import time

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.worker import Outcome, run


class InProcess:
    """What :class:`~recbole_painvrl.comparison.processes.Processes` is for several processes, for this one alone.

    Attributes:
        slots: How many runs there can be at once.
        live: Whether a progress line may stand on the terminal while runs go on.
        running: The runs that have begun and not been collected.
    """

    slots = 1
    live = False

    def __init__(self) -> None:
        self.running: dict[Task, Outcome] = {}

    @property
    def free(self) -> bool:
        """Whether another run can begin."""
        return not self.running

    def start(self, task: Task) -> None:
        """Makes a run from its beginning to its end.

        Raises:
            KeyboardInterrupt: The user stopped it.
        """
        outcome = run(task)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        if outcome.error:
            print(f"error: {task.cell.name}: {outcome.error}", file=sys.stderr)
        self.running[task] = outcome

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Returns what ended; waits up to ``seconds`` if nothing did."""
        if not self.running:
            time.sleep(seconds)
        ended = list(self.running.items())
        self.running.clear()
        return ended

    def stop(self) -> None:
        """Does nothing: what runs here has stopped when this can be called."""

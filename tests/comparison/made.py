"""Runs and a runner that exist on paper, to test what is done with them."""

from __future__ import annotations

from pathlib import Path

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.record import Cell
from recbole_painvrl.comparison.worker import Outcome
from recbole_painvrl.report.records import RunFolder


def make_task(model: str = "BPR", seed: int = 1, state: str = "waiting") -> Task:
    """A run on the data set ``board``."""
    folder = Path("runs") / "board" / model / str(seed)
    return Task(Cell(model, "board", seed, folder.as_posix(), state), folder, {}, ".")


def finish(task: Task, seconds: float = 10.0) -> None:
    """Writes the folder of a finished run that trained for ``seconds``."""
    run = RunFolder(task.folder)
    run.path.mkdir(parents=True, exist_ok=True)
    run.write_json("result.json", {"seconds_train": 0.75 * seconds, "seconds_eval": 0.25 * seconds})
    run.finish()


class MadeRunner:
    """Ends each run at once, as ``ends`` says for its name; ``done`` if it says nothing.

    Attributes:
        started: Names of the runs that were begun, in order.
        stopped: Whether it was told to stop.
    """

    live = True

    def __init__(self, slots: int = 1, ends: dict[str, list[Outcome]] | None = None) -> None:
        self.slots, self._ends = slots, ends or {}
        self.running: dict[Task, None] = {}
        self.started: list[str] = []
        self.stopped = False

    @property
    def free(self) -> bool:
        """Whether another run can begin."""
        return len(self.running) < self.slots

    def start(self, task: Task) -> None:
        """Begins a run."""
        self.started.append(task.cell.name)
        self.running[task] = None

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Ends all runs."""
        tasks = list(self.running)
        self.running.clear()
        return [(task, self._end(task)) for task in tasks]

    def stop(self) -> None:
        """Notes that it was told to."""
        self.stopped = True

    def _end(self, task: Task) -> Outcome:
        ends = self._ends.get(task.cell.name)
        outcome = ends.pop(0) if ends else Outcome("done")
        if outcome.state == "done":
            finish(task)
        return outcome

"""Runs side by side, each in a process of its own: a crash takes no other with it, and its memory is its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.worker import Outcome, run_logged

GRACE_SECONDS = 30.0
# a server that imports once what every run needs; each run is a copy of it, in no time
_PRELOADED = (__name__, "recbole.model.general_recommender", "recbole_painvrl.data.dataset", "torch._dynamo")
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@dataclass
class _Worker:
    process: Any
    answer: Connection
    slot: int


class Processes:
    """Up to ``slots`` runs at once.

    Args:
        slots: How many.
        threads: Threads of each.
        devices: GPUs to deal out, by the names that ``CUDA_VISIBLE_DEVICES`` takes; none to leave the choice alone.

    Attributes:
        live: Whether a progress line may stand on the terminal while runs go on.
        running: The runs that have begun and not been collected.
    """

    live = True

    def __init__(self, slots: int, threads: int, devices: Sequence[str] = ()) -> None:
        self.slots, self._threads, self._devices = slots, threads, tuple(devices)
        self.running: dict[Task, _Worker] = {}
        self._context: Any = multiprocessing.get_context(_METHOD)  # the base class of contexts declares no Process
        if _METHOD == "forkserver":
            self._start_server()

    @property
    def free(self) -> bool:
        """Whether another run can begin."""
        return len(self.running) < self.slots

    def start(self, task: Task) -> None:
        """Begins a run."""
        slot = min(set(range(self.slots)) - {worker.slot for worker in self.running.values()})
        device = self._devices[slot % len(self._devices)] if self._devices else None
        answer, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(task, self._threads, device, theirs))
        with _environment(self._threads):
            process.start()
        theirs.close()
        self.running[task] = _Worker(process, answer, slot)

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Returns what ended; waits up to ``seconds`` if nothing did."""
        if not self.running:
            time.sleep(seconds)
            return []
        ended = wait([worker.process.sentinel for worker in self.running.values()], seconds)
        tasks = [task for task, worker in self.running.items() if worker.process.sentinel in ended]
        return [(task, _outcome(self.running.pop(task))) for task in tasks]

    def stop(self) -> None:
        """Ends all runs: each is told to, has a while to store where it is, and is killed if that is not enough."""
        processes = [worker.process for worker in self.running.values()]
        try:
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + GRACE_SECONDS
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # also if the user does not want to wait
            for process in processes:
                process.kill()

    def _start_server(self) -> None:
        self._context.set_forkserver_preload(list(_PRELOADED))
        from multiprocessing import forkserver

        # Ctrl-C on the terminal reaches the server too, which must not die of it while it imports; a handler cannot be
        # inherited, but that a signal is ignored can
        main = threading.current_thread() is threading.main_thread()
        former = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        try:
            with _environment(self._threads):
                forkserver.ensure_running()
        finally:
            if main:
                signal.signal(signal.SIGINT, former)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Sets for processes that start meanwhile what libraries read when they load, and where this package is."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    changed = {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)}
    former = {key: os.environ.get(key) for key in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for key, value in former.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _outcome(worker: _Worker) -> Outcome:
    worker.process.join()
    with worker.answer as answer:
        if answer.poll():
            try:
                return answer.recv()
            except EOFError:  # it died before it could answer
                pass
    code = worker.process.exitcode
    if code >= 0:
        return Outcome("failed", f"its process ended with status {code} and without an answer")
    name = signal.Signals(-code).name
    hint = "; is there enough memory for so many at once (--parallel)?" if name == "SIGKILL" else ""
    return Outcome("failed", f"its process was ended by {name}{hint}")


# in the worker


def _work(task: Task, threads: int, device: str | None, answer: Connection) -> None:
    """The whole life of a worker process; it ends as it would by a signal when its parent is gone."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent tells us
        signal.signal(signal.SIGTERM, _interrupt)
        threading.Thread(target=_follow_parent, daemon=True).start()
        # not this process's own method: RecBole's `worker` starts loaders, which then are those of a run on its own
        multiprocessing.set_start_method(None, force=True)
        if device is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = device
        answer.send(run_logged(task, threads))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
    except BrokenPipeError:
        sys.exit(1)  # nobody waits for the answer any more


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows is putting things in order
    raise KeyboardInterrupt


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "workers have a parent"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)

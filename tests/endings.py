"""Ending a program at a chosen moment, in a child process that has everything imported already."""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_painvrl.comparison.processes import _PRELOADED
from recbole_painvrl.report.records import RunFolder

SECONDS = 300
for _name in _PRELOADED:  # so that children have it from the start
    importlib.import_module(_name)
CHANGING = ("time", "cpu", "seconds", "seconds_train", "seconds_eval", "peak_rss_mb")


@dataclass(frozen=True)
class Moment:
    """The ``call``-th call, counted from 1, of the function ``target`` (``module:name.name``), or its end."""

    name: str
    target: str
    call: int = 1
    after: bool = False

    def arm(self, do: Callable[[], None]) -> None:
        """Makes this process do something at that moment."""
        module, _, path = self.target.partition(":")
        holder: Any = importlib.import_module(module)
        *owners, name = path.split(".")
        for owner in owners:
            holder = getattr(holder, owner)
        function, calls = getattr(holder, name), 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            now = calls == self.call
            if now and not self.after:
                do()
            answer = function(*args, **kwargs)
            if now and self.after:
                do()
            return answer

        setattr(holder, name, counted)


def end(number: int) -> None:
    """Sends this process a signal."""
    os.kill(os.getpid(), number)


def started(work: Callable[[], Any], output: Path) -> Any:
    """Starts ``work`` in a child process, which ends with the status that it returns; says where its output goes."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(work, output))
    process.start()
    return process


def status_of(work: Callable[[], Any], output: Path) -> int:
    """Returns the status of a child process that does ``work``; minus a signal's number if that ended it."""
    process = started(work, output)
    process.join(SECONDS)
    assert process.exitcode is not None
    return int(process.exitcode)


def _child(work: Callable[[], Any], output: Path) -> None:
    with open(output, "ab", buffering=0) as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which a test of Ray leaves to Ray
    status = work() or 0
    os._exit(status)


def steady(values: Any) -> Any:
    """Returns values of a JSON file without those that no two runs share: times and memory."""
    if isinstance(values, dict):
        return {key: steady(value) for key, value in values.items() if key not in CHANGING}
    return [steady(value) for value in values] if isinstance(values, list) else values


def content(folder: Path) -> dict[str, Any]:
    """Returns what a run left in its folder, without times."""
    run = RunFolder(folder)
    assert run.finished
    arrays = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as stored:
            arrays[file.name] = {name: stored[name].tolist() for name in stored}
    texts = {file.name: file.read_text() for file in sorted(folder.glob("*.csv"))}
    names = sorted(file.name for file in folder.iterdir())
    result = steady(run.read_json("result.json"))
    return {"result": result, "records": steady(run.records()), "arrays": arrays, "texts": texts, "names": names}

"""One run of a comparison, wherever it is run: in this process, in one of its own, or on a Ray cluster."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from recbole_painvrl.allocator import keep_freed_memory
from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import execute
from recbole_painvrl.quick_start import configure
from recbole_painvrl.report.lock import Busy
from recbole_painvrl.tuning.trial import validate

LOG = "output.log"


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        state: ``done``, ``failed``, ``interrupted``, or ``waiting`` if another process works on it.
        error: Why it failed, in one line.
        seconds: What it took here, reading the data and all else included.
    """

    state: str
    error: str | None = None
    seconds: float = 0.0


def run(task: Task, validated: Callable[[int, float], None] | None = None) -> Outcome:
    """Makes a run, or continues it, from where it was interrupted; a run that fails has an outcome like any other.

    An unexpected exception leaves its traceback on standard error.

    Args:
        task: The run.
        validated: Of a trial, told the epoch and the best score so far after each validation of the final training.
    """
    began = time.monotonic()
    outcome = _outcome(task, validated)
    return replace(outcome, seconds=time.monotonic() - began)


def _outcome(task: Task, validated: Callable[[int, float], None] | None) -> Outcome:
    try:
        config = configure(config_dict=task.settings)
        if task.tested:
            execute(config, continued=task.folder)
        else:
            validate(config, task.folder, validated)
    except Busy:
        return Outcome("waiting")
    except UserError as error:
        return Outcome("failed", one_line(error))
    except KeyboardInterrupt:
        return Outcome("interrupted")
    except Exception as error:
        traceback.print_exc()
        return Outcome("failed", f"{type(error).__name__}: {one_line(error)}")
    return Outcome("done")


def run_logged(task: Task, threads: int, validated: Callable[[int, float], None] | None = None) -> Outcome:
    """Makes a run with ``threads`` threads, in the command's directory, with its output in ``output.log`` beside it.

    Arguments are those of :func:`run`.
    """
    os.chdir(task.directory)
    torch.set_num_threads(threads)
    keep_freed_memory()
    quiet = {**task.settings, "show_progress": False}  # nobody looks at a bar in a file
    try:
        with _output_to(task.folder / LOG):
            outcome = run(replace(task, settings=quiet), validated)
            if outcome.error:
                print(f"failed: {outcome.error}", file=sys.stderr)
            return outcome
    except OSError as error:
        return Outcome("failed", f"output_dir: cannot write to {task.folder} ({error.strerror or error})")


def one_line(error: BaseException) -> str:
    """Returns an exception's message on one line, without colours and without the marks under lines of a traceback."""
    return " ".join(word for word in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split() if word.strip("^"))


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Appends to ``file`` what this process, its libraries included, writes to standard output and standard error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab") as log:
        kept = [os.dup(descriptor) for descriptor in (1, 2)]
        try:
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor, former in zip((1, 2), kept, strict=True):
                os.dup2(former, descriptor)
                os.close(former)

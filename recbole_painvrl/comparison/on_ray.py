"""Runs side by side on a Ray cluster, whose machines share the file system and have this package installed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_painvrl.comparison.cores import usable_cores
from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.worker import Outcome, one_line, run_logged
from recbole_painvrl.errors import UserError
from recbole_painvrl.signals import signals_later

GRACE_SECONDS = 30.0


class OnRay:
    """As many runs at once as the cluster has cores, or GPUs if it has any and a run may use one.

    Args:
        address: The cluster's address, ``auto`` for the one that this machine belongs to; None starts a small one here.
        threads: Threads, and Ray's ``num_cpus``, of each run.
        use_gpu: Whether runs may use a GPU.

    Attributes:
        live: Whether a progress line may stand on the terminal while runs go on.
        running: The runs that have begun and not been collected.

    Raises:
        UserError: Ray cannot be used here, or there is no cluster at ``address``.
    """

    live = True

    def __init__(self, address: str | None, threads: int, use_gpu: bool) -> None:
        self._ray = connected(address, "--parallel=ray", "--parallel=N")
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if use_gpu else 0
        self.slots = gpus or max(1, int(resources.get("CPU", 1)) // threads)
        self._remote = self._ray.remote(num_cpus=threads, num_gpus=int(bool(gpus)), max_retries=0)(run_logged)
        self._threads = threads
        self.running: dict[Task, Any] = {}

    @property
    def free(self) -> bool:
        """Whether another run can begin."""
        return len(self.running) < self.slots

    def start(self, task: Task) -> None:
        """Begins a run."""
        self.running[task] = self._remote.remote(task, self._threads)

    def finished(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Returns what ended; waits up to ``seconds`` if nothing did."""
        if not self.running:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(list(self.running.values()), num_returns=1, timeout=seconds)
        tasks = [task for task, answer in self.running.items() if answer in ended]
        return [(task, self._outcome(self.running.pop(task))) for task in tasks]

    def stop(self) -> None:
        """Ends all runs: each is interrupted and has a while to store where it is. Leaves the cluster."""
        try:
            answers = list(self.running.values())
            for answer in answers:
                self._ray.cancel(answer)
            if answers:
                self._ray.wait(answers, num_returns=len(answers), timeout=GRACE_SECONDS)
        finally:
            self._ray.shutdown()

    def _outcome(self, answer: Any) -> Outcome:
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.TaskCancelledError:
            return Outcome("interrupted")
        except self._ray.exceptions.RayError as error:
            return Outcome("failed", f"Ray: {one_line(error)}")


@contextmanager
def _importable_in_workers() -> Iterator[None]:
    """Lets workers that are started meanwhile import this package from where it stands, if that is no installation."""
    former, root = os.environ.get("PYTHONPATH"), Path(__file__).resolve().parents[2]
    if root.name not in ("site-packages", "dist-packages"):  # those would come before the standard library
        os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([former] if former else [])])
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        if former is not None:
            os.environ["PYTHONPATH"] = former


def connected(address: str | None, flag: str, instead: str) -> Any:
    """Returns the module ``ray`` once it is connected.

    Both its import and its start take SIGTERM for themselves, the latter with a crash report: it is ours again after.

    Args:
        address: The cluster's address; None or ``local`` starts a small one here.
        flag: What asked for it.
        instead: What would ask for processes on this machine.

    Raises:
        UserError: Ray cannot be used here, or there is no cluster at ``address``.
    """
    try:
        with signals_later(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pkg_resources' end
            import ray

        own = {} if address not in (None, "local") else {"num_cpus": usable_cores(), "include_dashboard": False}
        with signals_later(), _importable_in_workers():
            ray.init(address=address, log_to_driver=False, configure_logging=False, **own)
    except (ImportError, AttributeError) as error:  # the latter by the names that numpy 2 has no more
        raise UserError(
            f"{flag}: Ray cannot be imported ({one_line(error)}); `recbole-painvrl doctor` says what mends it, "
            f"or use {instead} for processes on this machine"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        where = f"no cluster at {address}" if address else "it cannot start here"
        raise UserError(f"{flag}: {where} ({one_line(error)}); use {instead} for processes") from error
    return ray

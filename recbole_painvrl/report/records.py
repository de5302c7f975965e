"""A run is a folder: everything that a table or a picture needs later, and nothing that has to be trained again.

This module reads and writes run folders and imports neither RecBole nor torch. One line of ``records.jsonl`` is one
event (the idea is DomainBed's); ``done`` is written last, so a folder without it is an interrupted run.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import append, atomic_file, unfinished_files
from recbole_painvrl.recorded import read_events, read_object, read_settings
from recbole_painvrl.report.lock import Lock

DATA = "data.json"  # a digest of each data file
PER_USER = "per_user.npz"  # each test user's value of each metric
PER_USER_RHO = "per_user_rho.npz"  # the same, in the same order, at further rho that a report may choose


def key_at(rho: float, test_set: str, metric: str) -> str:
    """Returns the name of an array in :data:`PER_USER_RHO`."""
    return f"{float(rho)!r}/{test_set}/{metric}"


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder; it need not exist yet.
    """

    config_file = "config.yaml"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = Lock(self.path / "lock")

    @property
    def best_model(self) -> Path:
        """The model that validated best."""
        return self.path / "model-best.pth"

    @property
    def last_model(self) -> Path:
        """The state from which an interrupted run continues."""
        return self.path / "model-last.pth"

    @property
    def failed_model(self) -> Path:
        """The state at the step at which training went wrong."""
        return self.path / "model-failed.pth"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end, as far as can be seen; :meth:`claim` says why it cannot be."""
        try:
            return (self.path / "done").exists()
        except OSError:
            return False

    @property
    def started(self) -> bool:
        """Whether a run began here."""
        return (self.path / self.config_file).exists()

    @property
    def owner(self) -> str:
        """The running process that works here, such as ``process 5 on host``; an empty text if none does."""
        return self._lock.owner

    def claim(self) -> None:
        """Creates the folder, makes sure it can be written and keeps other processes out until :meth:`release`.

        Raises:
            UserError: The folder cannot be written, or (:class:`~recbole_painvrl.report.lock.Busy`) another process
                works in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            for left in unfinished_files(self.path):
                left.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"output_dir: cannot write to {self.path} ({reason}); choose another folder with --output_dir"
            ) from error

    def release(self) -> None:
        """Lets other processes in again; a folder in which nothing was written goes with the lock."""
        self._lock.release()
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def check_space(self, n_bytes: int) -> None:
        """Makes sure that ``n_bytes`` more fit on the disk.

        Raises:
            UserError: They do not.
        """
        free = shutil.disk_usage(self.path).free
        if free < n_bytes:
            raise UserError(
                f"output_dir: {self.path} has {free / 2**20:.0f} MiB left, but the models of this run need about "
                f"{n_bytes / 2**20:.0f} MiB; free some space or choose another folder with --output_dir"
            )

    @property
    def offset(self) -> int:
        """Length of the records so far, in bytes, all of which are on the disk by then."""
        file = self.path / "records.jsonl"
        if not file.exists():
            return 0
        with open(file, "rb+") as records:
            os.fsync(records.fileno())
            return records.seek(0, os.SEEK_END)

    def rewind(self, offset: int) -> None:
        """Forgets what was recorded after ``offset``: a continued run records it again."""
        file = self.path / "records.jsonl"
        if file.exists():
            os.truncate(file, min(offset, file.stat().st_size))

    def record(self, event: str, **values: Any) -> None:
        """Appends one event; ``values`` are numbers, texts and containers of them.

        Beside them stand the ``time`` and ``cpu``, the CPU seconds that this process has taken so far.

        Raises:
            UserError: The disk is full; the records end with a whole line.
        """
        moment = {"event": event, "time": round(time.time(), 3), "cpu": round(time.process_time(), 3)}
        line = json.dumps(plain({**moment, **values}), allow_nan=False) + "\n"
        append(self.path / "records.jsonl", line.encode())

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        """Returns the recorded events in order, only those named ``event`` if it is given.

        Raises:
            UserError: A line is damaged; a last one that was cut off is none.
        """
        return [one for one in read_events(self.path / "records.jsonl") if event in (None, one["event"])]

    def settings(self) -> dict[str, Any]:
        """Returns the complete configuration.

        Raises:
            UserError: Its file is missing or damaged.
        """
        return read_settings(self.path / self.config_file)

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file."""
        with atomic_file(self.path / name) as file:
            file.write(text.encode())

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Writes a JSON file of plain numbers; what is not finite becomes ``null``."""
        self.write_text(name, json.dumps(plain(values), indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str, kinds: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns the content of a JSON file of the folder, which must have the keys of ``kinds``, of these types.

        Raises:
            UserError: The file is not there or is damaged.
        """
        return read_object(self.path / name, kinds or {})

    def write_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Writes arrays of numbers or texts; ``numpy.load`` reads them with ``allow_pickle=False``.

        Raises:
            TypeError: An array holds Python objects.
        """
        for key, array in arrays.items():
            if array.dtype.hasobject:
                raise TypeError(f"{name}: {key} holds Python objects and would have to be pickled")
        with atomic_file(self.path / name) as file:
            named: dict[str, Any] = dict(arrays)  # numpy's types take any keyword for its own
            np.savez_compressed(file, **named)

    def finish(self) -> None:
        """Marks the run as complete."""
        self.write_text("done", "")


def plain(value: Any) -> Any:
    """Returns ``value`` in JSON's types: NumPy and torch scalars as numbers, numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

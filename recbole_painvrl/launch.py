"""Starting the processes of a run, watching over them, and being one of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import yaml

from recbole_painvrl import cli, distributed
from recbole_painvrl.comparison.cores import usable_cores, wanted_threads
from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import Interrupted, execute, run_folder
from recbole_painvrl.quick_start import configure
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.signals import PATIENCE_SECONDS

LOST = 75  # status of a process that ended because another one had
GRACE_SECONDS = 15.0  # for the first process to end by itself when another is gone
LOOK_SECONDS = 0.05
DEFAULT_PORT = "5678"  # RecBole's
MOST_PORTS = 65_535


@dataclass(frozen=True)
class Layout:
    """How many processes, and where they meet; names and meanings are RecBole's.

    Attributes:
        nproc: Processes on this machine.
        world_size: Processes on all machines; -1 if this is the only one.
        group_offset: Processes on the machines before this one.
        ip: Address of the first machine.
        port: Its port; None takes a free one, which only this machine would know.
    """

    nproc: int = 1
    world_size: int = -1
    group_offset: int = 0
    ip: str = "localhost"
    port: str | None = None

    @property
    def size(self) -> int:
        """Number of all processes."""
        return max(self.nproc, self.world_size)

    def check(self) -> None:
        """Makes sure that the numbers do not contradict each other, and that there may be such a place.

        Raises:
            UserError: They do, or there is none; the message names the options.
        """
        if self.nproc < 1 or not 0 <= self.group_offset <= self.size - self.nproc:
            raise UserError(
                f"--nproc={self.nproc} from --group_offset={self.group_offset} on is not within "
                f"--world_size={self.size}; each machine's offset is the number of processes before it"
            )
        if self.port is not None and not (str(self.port).isdecimal() and 0 < int(self.port) <= MOST_PORTS):
            raise UserError(f"--port={self.port}: expected a whole number from 1 to {MOST_PORTS}")
        try:
            if self.size > 1 and self.ip != "localhost":
                socket.getaddrinfo(self.ip, None)
        except (OSError, UnicodeError) as error:
            raise UserError(
                f"--ip={self.ip}: there is no such address ({error}); give that of the first machine"
            ) from error


def launch(config: Config, layout: Layout, saved: bool = True, continued: Path | None = None) -> int:
    """Makes the run of a configuration, or continues it, in several processes, of which the first one speaks.

    Args:
        config: The configuration, in which this process is alone.
        layout: The processes.
        saved: Whether to keep models.
        continued: The folder of the interrupted run to continue, or None for a new run.

    Returns:
        The exit status of the first process, which has said why if it is not 0.

    Raises:
        UserError: The model cannot be trained so, there are too few GPUs, or a process has ended early.
    """
    layout.check()
    distributed.check_processes(config.model_class, layout.nproc, config["device"].type == "cuda")
    folder = continued or run_folder(config)
    if RunFolder(folder).finished:
        execute(config, saved, continued=continued)
        return 0
    port = layout.port or (DEFAULT_PORT if layout.size > layout.nproc else _free_port())
    task = {
        "settings": yaml.safe_dump(config.plain(), sort_keys=False),
        "saved": saved,
        "continued": str(continued) if continued else None,
    }
    if layout.size > layout.nproc:
        print(f"waiting for {layout.size} processes at {layout.ip}:{port}", file=sys.stderr)
    children: list[_Child] = []
    try:
        for number in range(layout.nproc):
            children.append(_Child(number, layout, port, task))
        return _watch(children, folder)
    finally:
        for child in children:
            child.end()


class _Child:
    """One process, in a session of its own: signals of the terminal reach it through its parent alone."""

    def __init__(self, number: int, layout: Layout, port: str, task: Mapping[str, Any]) -> None:
        self.rank, self.size = number + layout.group_offset, layout.size
        self.said: IO[bytes] | None = TemporaryFile() if self.rank else None  # noqa: SIM115 - closed by end()
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if self.rank else None,
            stderr=self.said,
            env={**os.environ, **_environment(number, layout, port)},
            start_new_session=True,
        )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already, which whoever watches will see
            self.process.stdin.write(json.dumps(task).encode() + b"\n")
            self.process.stdin.flush()

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.process.poll()

    def how(self) -> str:
        """Says how it ended."""
        status = self.process.wait()
        if status < 0:
            return f"process {self.rank} of {self.size} was ended by {signal.Signals(-status).name}"
        return f"process {self.rank} of {self.size} ended with status {status}{self._last_words()}"

    def _last_words(self) -> str:
        if self.said is None:
            return ""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f" ({last})" if last else ""

    def end(self) -> None:
        """Ends it at once if it still runs; it loses nothing that is stored."""
        if self.status is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.said):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def _environment(number: int, layout: Layout, port: str) -> dict[str, str]:
    """Returns what tells a process its place, in the words of ``torchrun``, and gives it its share of the cores."""
    package = str(Path(__file__).resolve().parents[1])
    return {
        "RANK": str(number + layout.group_offset),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(layout.size),
        "LOCAL_WORLD_SIZE": str(layout.nproc),
        "MASTER_ADDR": layout.ip,
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": str(wanted_threads() or max(1, usable_cores() // layout.nproc)),
        "PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def _watch(children: list[_Child], folder: Path) -> int:
    """Waits for the first process's end, hands a signal on to it, and does not let it wait for one that is gone.

    Processes that still wait for each other hear no signal: before anything is stored, or at a second signal, they are
    ended from here.

    Raises:
        UserError: A process has ended early.
        KeyboardInterrupt: The user ended the run before it began, or at once.
    """
    first, gone, deadline, asked = children[0], None, float("inf"), False
    while first.status is None and time.monotonic() < deadline:
        try:
            if gone is None:
                gone = next((child for child in children[1:] if child.status not in (None, 0, LOST)), None)
                deadline = time.monotonic() + GRACE_SECONDS if gone else deadline
            time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt as interruption:
            begun = RunFolder(folder).started
            if begun and asked:
                raise Interrupted(folder, getattr(interruption, "status", 130)) from None
            if asked or (first.rank == 0 and not begun):
                raise
            asked = True
            first.process.send_signal(signal.SIGTERM if hasattr(interruption, "status") else signal.SIGINT)
    told = first.status is not None and first.status >= 0 and first.status != LOST
    if told:
        return first.status or 0
    cause = gone or next((child for child in children[1:] if child.status not in (None, 0, LOST)), first)
    how = cause.how() if cause.status is not None and cause.status != LOST else "a process on another machine has ended"
    started = RunFolder(folder).started
    raise UserError(f"{how}, and with it the run" + (f"; continue with --resume={folder}" if started else ""))


# in a process


def main() -> int:
    """The whole life of a process: it reads its task, does it with the others, and ends when its parent is gone."""
    task = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_follow_parent, daemon=True).start()
    return cli.told(lambda: _work(task))


def _work(task: Mapping[str, Any]) -> int:
    try:
        settings = {**yaml.safe_load(task["settings"]), **distributed.place()}
        config = configure(config_dict=settings)
        execute(config, task["saved"], continued=Path(task["continued"]) if task["continued"] else None)
    except distributed.Lost:
        return LOST
    distributed.leave()
    return 0


def _follow_parent() -> None:
    """Ends this process as a signal would when its standard input closes, which the parent holds open.

    One that does not hear the signal, as it waits for others, ends a little later.
    """
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS + GRACE_SECONDS)
    os._exit(143)


if __name__ == "__main__":
    sys.exit(main())

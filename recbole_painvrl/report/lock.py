"""One process a folder: a lock file that names its owner, so that a dead owner's lock can be taken over."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from recbole_painvrl.errors import UserError

SETTLING_SECONDS = 10.0
_HELD: set[Path] = set()


class Busy(UserError):
    """Another process works in the folder."""


class Lock:
    """A lock file created exclusively.

    Args:
        path: The file; its folder must exist when the lock is acquired.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> None:
        """Takes the lock, if need be from an owner that no longer runs.

        Raises:
            Busy: A running process, or one on another machine, holds it.
        """
        with _alone_in(self.path.parent):
            if not self._create():
                self._take_over()
        _HELD.add(self.path.resolve())

    def release(self) -> None:
        """Gives the lock back; does nothing if this process does not hold it."""
        held = self.path.resolve()
        if held in _HELD:
            _HELD.remove(held)
            with suppress(OSError):  # on a disk that has become read-only it stays, and the next process takes it over
                self.path.unlink(missing_ok=True)

    @property
    def owner(self) -> str:
        """The running process that holds it, such as ``process 5 on host``; an empty text if none does.

        Also if that cannot be read: who then tries to acquire it is told why.
        """
        try:
            owner = self._owner()
            return _named(owner) if self.path.exists() and self._alive(owner) else ""
        except OSError:
            return ""

    def _create(self) -> bool:
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{os.getpid()} {socket.gethostname()}\n")
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _take_over(self) -> None:
        owner = self._owner()
        if self._alive(owner):
            raise self._in_use(owner)
        self.path.unlink(missing_ok=True)
        if not self._create():  # only where _alone_in could not keep others out
            raise self._in_use(owner)

    def _age(self) -> float:
        return time.time() - self.path.stat().st_mtime if self.path.exists() else 0.0

    def _owner(self) -> str:
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return ""

    def _alive(self, owner: str) -> bool:
        process, _, host = owner.strip().partition(" ")
        if not process.isdigit():  # its owner was about to write its number, or died before it did
            return self._age() < SETTLING_SECONDS
        if host != socket.gethostname():
            return True
        if int(process) == os.getpid():  # numbers are given out again: this one is ours only if we hold the lock
            return self.path.resolve() in _HELD
        return _runs(int(process))

    def _in_use(self, owner: str) -> Busy:
        return Busy(
            f"{self.path.parent}: {_named(owner)} works in this folder; wait for it, or delete {self.path} if it no "
            "longer runs"
        )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps this machine's other processes out: to find an owner dead and to take his place is one step.

    The kernel forgets the folder's own lock when a process dies. File systems that lock no folders (some NFS) do
    without; two that find the same dead owner within the same millisecond could then both go on.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _named(owner: str) -> str:
    process, _, host = owner.strip().partition(" ")
    return f"process {process or 'unknown'} on {host or 'this machine'}"


def _runs(process: int) -> bool:
    """Whether a process of this machine still works; one that has ended and that no parent has asked for does not."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True

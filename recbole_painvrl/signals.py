"""Holding signals back where an exception out of nowhere would leave something half done."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

PATIENCE_SECONDS = 20.0  # less than a comparison leaves its workers before it kills them


class Terminated(KeyboardInterrupt):
    """The program was told to end by SIGTERM."""

    status = 143


def first_of_several(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether this process is alone or the first of those that train one model, as ``torchrun`` counts."""
    return int(environment.get("WORLD_SIZE", 1)) <= 1 or environment.get("RANK") == "0"


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM an exception like Ctrl-C's, if this is the main thread and nobody else cares for the signal."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def signals_later() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back until its end, if this is the main thread and they have handlers in Python."""
    came: list[int] = []
    former = _replace(lambda number, frame: came.append(number))
    try:
        yield
    finally:
        _restore(former)
        for received in came:
            signal.raise_signal(received)


class Ending:
    """A context in which the first SIGINT or SIGTERM asks for an end at the next good moment.

    What works inside calls :meth:`leave` where its state is stored. A second signal acts at once, as the first one does
    when the context ends. Only in the main thread, and only for signals that have handlers in Python.
    """

    def __init__(self) -> None:
        self._former: dict[int, Any] = {}
        self._came: int | None = None
        self._deadline = 0.0

    def __enter__(self) -> Ending:
        self._former = _replace(self._receive)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()
        if error is None:
            self.leave()

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._came is not None

    @property
    def overdue(self) -> bool:
        """Whether a signal came so long ago that any moment is good enough."""
        return self.asked and time.monotonic() > self._deadline

    def leave(self) -> None:
        """Lets the signal do what it would have done without this context; does nothing if none has come."""
        if self._came is not None:
            self._restore()
            received, self._came = self._came, None
            signal.raise_signal(received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self._came = number
            self.leave()
            return
        self._came, self._deadline = number, time.monotonic() + PATIENCE_SECONDS
        # not print: the stream may be in the middle of a line of the code that this interrupts
        os.write(2, b"ending once this epoch is done and stored; a second signal ends it at once\n")

    def _restore(self) -> None:
        _restore(self._former)
        self._former = {}


def _replace(handler: Any) -> dict[int, Any]:
    """Sets a handler of SIGINT and SIGTERM where it may; returns the former ones."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
    return {number: signal.signal(number, handler) for number in numbers}


def _restore(former: dict[int, Any]) -> None:
    for number, handler in former.items():
        signal.signal(number, handler)

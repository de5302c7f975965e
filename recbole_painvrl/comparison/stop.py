"""What a signal does to a comparison: it ends in order, and says how to go on."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stopped(KeyboardInterrupt):
    """The user stopped a comparison that can be continued.

    Attributes:
        status: The exit status: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Stop:
    """A context in which SIGINT and SIGTERM ask the comparison to end, if this is the main thread.

    Args:
        at_once: Whether the first signal raises KeyboardInterrupt wherever the program is; if not, :meth:`check` does
            that at the next good moment. A second signal always does it at once.

    Attributes:
        received: The signal, or None.
    """

    def __init__(self, at_once: bool) -> None:
        self.received: int | None = None
        self._at_once = at_once
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM)
            self._former = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """The exit status of a process that the signal ended."""
        return 128 + (self.received or signal.SIGINT)

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has come."""
        if self.received:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received is not None, number
        if self._at_once or again:
            raise KeyboardInterrupt

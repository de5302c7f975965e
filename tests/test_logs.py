"""TensorBoard's writer under signals."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from recbole_painvrl.logs import Board


def test_an_event_is_written_before_a_signal_interrupts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    def add_scalar(board: SummaryWriter, *args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        written.append(args)

    monkeypatch.setattr(SummaryWriter, "add_scalar", add_scalar)
    board = Board(str(tmp_path))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            board.add_scalar("loss", 1.0, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert written == [("loss", 1.0, 0)]
    board.close()

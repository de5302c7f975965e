"""Files appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from recbole_painvrl.files import atomic_file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_file_is_written(tmp_path: Path, number: int) -> None:
    def receive(received: int, frame: object) -> None:
        raise KeyboardInterrupt(received)

    former = signal.signal(number, receive)
    try:
        with pytest.raises(KeyboardInterrupt) as caught, atomic_file(tmp_path / "a.pth") as file:
            os.kill(os.getpid(), number)
            torch.save({"a": torch.ones(3)}, file)
        assert signal.getsignal(number) is receive
    finally:
        signal.signal(number, former)
    assert caught.value.args == (number,)
    assert torch.load(tmp_path / "a.pth", weights_only=True)["a"].tolist() == [1, 1, 1]


def test_what_goes_wrong_leaves_the_former_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("former")
    with pytest.raises(ZeroDivisionError), atomic_file(file) as stream:
        stream.write(b"new")
        raise ZeroDivisionError
    assert file.read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]

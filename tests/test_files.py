"""Files appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl import checkpoint
from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file, unfinished_files
from recbole_painvrl.recommend import write_csv
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.selection import RULES
from recbole_painvrl.report.sheet import Sheet
from recbole_painvrl.tuning import results
from tests.endings import status_of


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


def writes(kind: str, run: RunFolder, size: int) -> None:
    """Writes ``size`` numbers into a file of a run's folder."""
    values = np.random.default_rng(0).random(size)
    if kind == "checkpoint":
        checkpoint.save(run.last_model, {"values": values})
    elif kind == "arrays":
        run.write_arrays("values.npz", {"values": values})
    elif kind == "text":
        run.write_text("values.txt", " ".join(map(str, values)))
    else:
        run.record("values", values=values)


@pytest.mark.parametrize("kind", ["checkpoint", "arrays", "text", "record"])
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    """The kernel refuses what is beyond a size, which libraries see as they see a full disk."""
    run = RunFolder(tmp_path)
    writes(kind, run, 10)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(UserError, match=f"{tmp_path}.*the disk is full"):
            writes(kind, run, 20_000)
        return 0

    output = tmp_path.with_suffix(".output")
    assert status_of(work, output) == 0, output.read_text()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


NOTHING_TRIED: Any = SimpleNamespace(winner=None, trials=[])
WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "run": ("--output_dir", lambda file: RunFolder(file.parent).write_text(file.name, "x")),
    "recommend": ("--output", lambda file: write_csv([], file)),
    "report": ("--output", lambda file: Sheet(file.parent, RULES["iid_validation"]).text(file.name, "x")),
    "search": ("--output_file", lambda file: results.write_text(NOTHING_TRIED, file, True)),
}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("writer", WRITERS)
def test_another_place_is_asked_for_by_the_flag_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("recbole_painvrl.files.os.replace", refuse)
    flag, write = WRITERS[writer]
    with pytest.raises(UserError, match=rf"a\.txt: .*\({os.strerror(number)}\); .*choose another {flag}$"):
        write(tmp_path / "a.txt")


def test_what_a_killed_process_left_unfinished_goes_with_the_next_claim(tmp_path: Path) -> None:
    def work() -> None:
        with atomic_file(tmp_path / "model-last.pth") as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    assert status_of(work, tmp_path.with_suffix(".output")) == -signal.SIGKILL
    assert len(unfinished_files(tmp_path)) == 1
    run = RunFolder(tmp_path)
    run.claim()
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    run.release()


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "none" / "a.txt") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="other"), atomic_file(tmp_path / "a.txt") as file:
        raise RuntimeError("other")


def test_the_folder_is_put_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First what is in the file, then its name, then the folder that has the name."""
    done: list[str] = []
    sync, rename = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("name"), rename(*names)))
    with atomic_file(tmp_path / "a.txt") as file:
        file.write(b"x")
    assert done == ["file", "name", "folder"]

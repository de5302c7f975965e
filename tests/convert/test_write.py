"""A data set is there as a whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_painvrl.convert import convert, write
from recbole_painvrl.errors import UserError
from tests.convert.inputs import contents

RawFolder = Callable[[str], Path]
STOPS_WHILE_WRITING = """
import sys, time
from recbole_painvrl.convert import convert, write

def stop(values, path):
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)

write.write_matrix = stop
convert("csv", sys.argv[1], "tiny", sys.argv[2], overwrite=True)
"""


def killed_conversion(source: Path, data_path: Path) -> None:
    """Starts a conversion and kills it while it writes a feature matrix."""
    command = [sys.executable, "-c", STOPS_WHILE_WRITING, str(source), str(data_path)]
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)


def test_killed_process_leaves_no_data_set(raw: RawFolder, tmp_path: Path) -> None:
    source = raw("csv")
    killed_conversion(source, tmp_path / "dataset")
    left = [path.name for path in (tmp_path / "dataset").iterdir()]
    assert len(left) == 1 and left[0].startswith(".tiny.partial-")
    convert("csv", source, "tiny", tmp_path / "dataset")
    assert (tmp_path / "dataset" / "tiny" / "tiny.yaml").exists()


def test_killed_process_leaves_the_old_data_set(raw: RawFolder, tmp_path: Path) -> None:
    source = raw("csv")
    convert("csv", source, "tiny", tmp_path / "dataset")
    before = contents(tmp_path / "dataset" / "tiny")
    killed_conversion(source, tmp_path / "dataset")
    assert contents(tmp_path / "dataset" / "tiny") == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_error_removes_the_partial_folder(
    raw: RawFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(write, "write_matrix", fail)
    with pytest.raises((KeyboardInterrupt, UserError)):
        convert("csv", raw("csv"), "tiny", tmp_path / "dataset")
    assert list((tmp_path / "dataset").iterdir()) == []


def test_existing_target(raw: RawFolder, tmp_path: Path) -> None:
    source, target = raw("csv"), tmp_path / "dataset" / "tiny"
    target.mkdir(parents=True)
    (target / "mine").write_text("kept")
    with pytest.raises(UserError, match="exists already"):
        convert("csv", source, "tiny", target.parent)
    assert (target / "mine").exists()
    convert("csv", source, "tiny", target.parent, overwrite=True)
    assert not (target / "mine").exists() and (target / "tiny.item").exists()
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]


def test_failed_overwrite_keeps_the_old_one(raw: RawFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = raw("csv"), tmp_path / "dataset" / "tiny"
    target.mkdir(parents=True)
    (target / "mine").write_text("kept")
    replace = os.replace

    def fail_on_second(old: Path, new: Path) -> None:
        if ".partial-" in str(old):
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr(write.os, "replace", fail_on_second)
    with pytest.raises(KeyboardInterrupt):
        convert("csv", source, "tiny", target.parent, overwrite=True)
    assert [path.name for path in target.parent.iterdir()] == ["tiny"] and (target / "mine").exists()


def test_source_is_never_overwritten(raw: RawFolder, tmp_path: Path) -> None:
    source = raw("csv")
    before = contents(source)
    with pytest.raises(UserError, match="holds the source itself"):
        convert("csv", source, source.name, tmp_path, overwrite=True)
    assert contents(source) == before


def test_unwritable_place(raw: RawFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        convert("csv", raw("csv"), "tiny", tmp_path / "file")

"""A data set is there as a whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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

KILLED_WHILE_RENAMING = """
import os, signal, sys
from recbole_painvrl.convert import convert

replace = os.replace

def stop(old, new):
    if ".partial-" in str(old):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)

os.replace = stop
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


def test_what_was_moved_aside_by_a_killed_process_is_put_back(raw: RawFolder, tmp_path: Path) -> None:
    source, data_path = raw("csv"), tmp_path / "dataset"
    convert("csv", source, "tiny", data_path)
    before = contents(data_path / "tiny")
    command = [sys.executable, "-c", KILLED_WHILE_RENAMING, str(source), str(data_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert not (data_path / "tiny").exists()
    with pytest.raises(
        UserError, match=r"tiny: exists already \(a killed process had moved it aside, it is back now\)"
    ):
        convert("csv", source, "tiny", data_path)
    assert contents(data_path / "tiny") == before
    convert("csv", source, "tiny", data_path, overwrite=True)
    assert len([path.name for path in data_path.iterdir() if ".partial-" not in path.name]) == 1


def test_the_last_one_moved_aside_is_put_back_and_none_that_has_a_successor(tmp_path: Path) -> None:
    target = tmp_path / "tiny"
    for number, name in enumerate((".tiny.old-b", ".tiny.old-a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "number").write_text(str(number))
        time.sleep(0.02)
    (tmp_path / ".tiny.partial-c").mkdir()  # whose process may live
    with write.new_folder(target, overwrite=True):
        assert (target / "number").read_text() == "1"
        assert not list(tmp_path.glob(".tiny.old-*")) and (tmp_path / ".tiny.partial-c").is_dir()
    (tmp_path / ".tiny.old-d").mkdir()
    with write.new_folder(target, overwrite=True):
        assert not list(tmp_path.glob(".tiny.old-*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tiny.partial-c", "tiny"]


def test_two_machines_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write.os, "getpid", lambda: 7)
    target = tmp_path / "tiny"
    with write.new_folder(target, overwrite=True) as here, write.new_folder(target, overwrite=True) as there:
        (here / "first").write_text("here")
        (there / "second").write_text("there")
        assert [path.name for path in here.iterdir()] == ["first"]
    assert [path.name for path in target.iterdir()] == ["first"]


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

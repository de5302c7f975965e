"""A run folder keeps plain data, can be rewound, and belongs to one process at a time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import atomic_file
from recbole_painvrl.report.lock import SETTLING_SECONDS
from recbole_painvrl.report.records import RunFolder, plain
from recbole_painvrl.report.summary import summary_table


def dead_process() -> int:
    """Returns the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_records_come_back_in_order_and_by_name(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.record("train", epoch=0, loss=np.float64(1.5))
    run.record("valid", epoch=0, result={"recall@10": np.float32(0.25)}, score=float("nan"))
    assert [one["event"] for one in run.records()] == ["train", "valid"]
    assert run.records("valid")[0]["result"] == {"recall@10": 0.25}
    assert run.records("valid")[0]["score"] is None


def test_rewinding_forgets_later_records(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.record("train", epoch=0)
    offset = run.offset
    run.record("train", epoch=1)
    run.rewind(offset)
    assert [one["epoch"] for one in run.records("train")] == [0]


def test_a_line_cut_off_by_a_crash_is_ignored(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.record("train", epoch=0)
    with open(tmp_path / "records.jsonl", "ab") as file:
        file.write(b'{"event": "tra')
    assert len(run.records()) == 1


@pytest.mark.parametrize("line", [b"garbage", b"{}", b"[]", b"3", b'{"event": 3}', b"", b"\xff", b"[" * 100_000])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    run = RunFolder(tmp_path)
    run.record("train", epoch=0)
    with open(tmp_path / "records.jsonl", "ab") as file:
        file.write(line + b"\n")
    run.record("train", epoch=1)
    with pytest.raises(UserError, match=r"records\.jsonl: line 2: expected the record of an event .* run again$"):
        run.records("train")


def test_a_file_that_is_no_object_is_named(tmp_path: Path) -> None:
    run, file = RunFolder(tmp_path), tmp_path / "result.json"
    missing = "expected seed: int, found nothing"
    for text, complaint in (("3", "and values, found 3"), ("[" * 100_000, "cannot be read"), ("{}", missing)):
        file.write_text(text)
        with pytest.raises(UserError, match=rf"result\.json: .*{complaint}"):
            run.read_json("result.json", {"seed": int})
    file.write_text('{"seed": [1]}')
    with pytest.raises(UserError, match=r"result\.json: expected seed: int, found \[1\]"):
        run.read_json("result.json", {"seed": int})


def test_arrays_load_without_pickle(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_arrays("per_user.npz", {"test/users": np.array(["a", "é"]), "test/recall@10": np.array([0.5, 1.0])})
    with np.load(tmp_path / "per_user.npz", allow_pickle=False) as stored:
        assert stored["test/users"].tolist() == ["a", "é"]
        assert stored["test/recall@10"].tolist() == [0.5, 1.0]


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="would have to be pickled"):
        RunFolder(tmp_path).write_arrays("x.npz", {"users": np.array(["a", None], dtype=object)})


def test_json_holds_plain_numbers(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_json("result.json", {"score": np.float64(0.1), "best": -np.inf, "n": np.int64(3), "list": np.arange(2)})
    assert json.loads((tmp_path / "result.json").read_text()) == {"score": 0.1, "best": None, "n": 3, "list": [0, 1]}


def test_plain_leaves_texts_and_booleans_alone() -> None:
    assert plain({"a": True, "b": "x", 3: (1, None)}) == {"a": True, "b": "x", "3": [1, None]}


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(file) as new:
        new.write(b"half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the disk is full"), atomic_file(tmp_path / "model.pth"):
        raise OSError(28, "No space left on device")


def test_missing_room_is_found_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MiB left"):
        RunFolder(tmp_path).check_space(2**60)


def ended_child() -> int:
    """Returns the number of a process that has ended and keeps its number, since its parent never asks how."""
    child = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", ""], os.environ)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return child


def test_a_folder_below_a_file_cannot_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output_dir: cannot write to"):
        RunFolder(tmp_path / "file" / "run").claim()


def test_a_running_process_keeps_others_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"{os.getppid()} {socket.gethostname()}\n")
    with pytest.raises(UserError, match=f"process {os.getppid()} on .* works in this folder"):
        RunFolder(tmp_path).claim()


@pytest.mark.parametrize("owner", ["dead", "ended, unasked for", "ourselves, before this number was given out again"])
def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path, owner: str) -> None:
    process = {"dead": dead_process, "ended, unasked for": ended_child}.get(owner, os.getpid)()
    (tmp_path / "lock").write_text(f"{process} {socket.gethostname()}\n")
    run = RunFolder(tmp_path)
    run.claim()
    assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())
    run.record("start")
    run.release()
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]


def test_another_machines_lock_is_respected(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1 some-other-machine\n")
    with pytest.raises(UserError, match="on some-other-machine"):
        RunFolder(tmp_path).claim()


def test_an_unfinished_lock_is_stale_after_a_while(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("")
    with pytest.raises(UserError):
        RunFolder(tmp_path).claim()
    os.utime(lock, (0, lock.stat().st_mtime - 2 * SETTLING_SECONDS))
    RunFolder(tmp_path).claim()


def test_one_process_cannot_claim_a_folder_twice(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.claim()
    with pytest.raises(UserError):
        RunFolder(tmp_path).claim()
    run.release()
    RunFolder(tmp_path).claim()


def test_a_folder_that_stayed_empty_is_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.claim()
    run.release()
    assert not run.path.exists()


def test_records_import_neither_recbole_nor_torch() -> None:
    code = (
        "import sys, recbole_painvrl.report.records, recbole_painvrl.report.summary;"
        "print(any(name in sys.modules for name in ('torch', 'recbole')))"
    )
    root = Path(__file__).parents[2]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "False"


def result(model: str, valid: float | None, test: float, **more: float) -> dict:
    tests = {"test": {"ndcg@20": test}, **{name: {"ndcg@20": value} for name, value in more.items()}}
    return {
        "dataset": "toy",
        "model": model,
        "valid_metric": "ndcg@20",
        "best_valid_score": valid,
        "test_results": tests,
    }


def test_the_summary_has_mean_and_deviation_of_the_sample() -> None:
    table = summary_table([result("BPR", 0.1, 0.2), result("BPR", 0.3, 0.4), result("Pop", None, 0.5, test_ood=0.25)])
    header = ["dataset", "model", "runs", "metric", "valid", "test", "test_ood", "gap", "test_ood"]
    assert table.splitlines()[0].split() == header
    assert "0.3000 +- 0.1414" in table.splitlines()[1]
    assert table.splitlines()[2].split() == ["toy", "Pop", "1", "ndcg@20", "-", "0.5000", "0.2500", "0.2500"]

"""The command line: flags, lists, continuation, and one line with status 2 for every mistake."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import cli, experiment
from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.run_command import COMMANDS, configuration_keys
from tests.inputs import Board, forbid, write_checkerboard

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "run_recbole_painvrl.py"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def board(folder: Path) -> Board:
    return write_checkerboard(folder / "data")


def flags(board: Board, **more: Any) -> list[str]:
    keys = board.config(**{"epochs": 1, "train_batch_size": 64, "embedding_size": 8, **more})
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in keys.items()}
    return [f"--{key}={value}" for key, value in texts.items()]


def mistake(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Returns the one line that a wrong call prints, after what it may have logged before."""
    assert cli.main(list(arguments)) == 2
    written = capsys.readouterr().err
    *logged, line = written.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in written
    assert not any("error" in one.lower() for one in logged)
    return line


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--epochs=2", "--seed", "7"], {"epochs": "2", "seed": "7"}),
        (["--load_col={inter: [a, b]}"], {"load_col": "{inter: [a, b]}"}),
        (["--field_separator==", "--x=a=b"], {"field_separator": "=", "x": "a=b"}),
        (["--weight", "-1.5"], {"weight": "-1.5"}),
        (["--empty="], {"empty": ""}),
        (["--epochs=2", "--epochs=2"], {"epochs": "2"}),
    ],
)
def test_keys_are_read_with_and_without_equals_sign(words: list[str], keys: dict[str, str]) -> None:
    assert configuration_keys(words) == keys


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["epochs=2"], "'epochs=2' is not understood"),
        (["recomend"], "Did you mean 'recommend'"),
        (["--epochs"], "--epochs has no value"),
        (["--epochs", "--seed=1"], "--epochs has no value"),
        (["--epochs=2", "--epochs=3"], "--epochs is given twice: '2' and '3'"),
    ],
)
def test_words_that_are_no_keys_are_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        configuration_keys(words)


def test_every_command_has_a_name_that_mistakes_are_compared_with() -> None:
    assert set(cli.COMMANDS) == set(COMMANDS)


@pytest.mark.parametrize("arguments", [["-m", "BPR", "-d", "board"], ["--model=BPR", "--dataset=board"]])
def test_recboles_flags_start_a_run(board: Board, arguments: list[str]) -> None:
    assert cli.main([*arguments, *flags(board)]) == 0
    (path,) = Path("runs/board/BPR").iterdir()
    assert (path / "done").exists()


def test_config_files_are_separated_by_spaces(board: Board, folder: Path) -> None:
    (folder / "a.yaml").write_text("model: Pop\ndataset: board\nepochs: 5\n")
    (folder / "b.yaml").write_text("epochs: 1\nmodel: BPR\n")
    others = [flag for flag in flags(board) if not flag.startswith("--epochs")]
    assert cli.main(["--config_files", "a.yaml b.yaml", *others]) == 0
    (path,) = Path("runs/board/BPR").iterdir()
    assert RunFolder(path).read_json("result.json")["epochs"] == 1


def test_models_and_seeds_make_a_table(board: Board, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["-m", "BPR,Pop", "-d", "board", "--seeds=1,2", "--parallel=1", *flags(board)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["dataset", "model", "runs", "metric", "valid", "test", "test_ood", "gap", "test_ood"]
    assert [row.split()[:3] for row in rows] == [["board", "BPR", "2"], ["board", "Pop", "2"]]


def test_interruption_says_how_to_continue_and_then_continues(
    board: Board, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_test", stop)
        assert cli.main(["-m", "BPR", "-d", "board", *flags(board)]) == 130
    (path,) = Path("runs/board/BPR").iterdir()
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; continue with --resume={path}"
    assert f"--resume={path}" in mistake(capsys, "-m", "BPR", "-d", "board", *flags(board))
    assert "leave out --model" in mistake(capsys, f"--resume={path}", "-m", "BPR")
    assert cli.main(["-m", "BPR", "-d", "board", *flags(board), "--resume"]) == 0
    assert (path / "done").exists()
    assert cli.main([f"--resume={path}"]) == 0


def test_unexpected_errors_keep_their_traceback(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "_test", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["-m", "BPR", "-d", "board", *flags(board)])


def test_help_names_flags_and_commands(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.main(["--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    for word in ("--model", "--dataset", "--config_files", "--seeds", "--resume", "convert", "recommend", "doctor"):
        assert word in text


def test_recommend_prints_a_list(board: Board, capsys: pytest.CaptureFixture) -> None:
    cli.main(["-m", "BPR", "-d", "board", *flags(board)])
    (path,) = Path("runs/board/BPR").iterdir()
    capsys.readouterr()
    assert cli.main(["recommend", str(path), "--users=u1,u2", "--topk=3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2 * 3
    assert cli.main(["recommend", str(path), "--topk=3", "--output=out.csv"]) == 0
    assert len(Path("out.csv").read_text().splitlines()) == 1 + 40 * 3
    assert "there is no user 'u99'" in mistake(capsys, "recommend", str(path), "--users=u99")
    assert "no such model file" in mistake(capsys, "recommend", "nowhere")


def write_lines(board: Board, file: str, *lines: str) -> None:
    Path(board.folder, "board", file).write_text("\n".join(lines) + "\n")


def append(board: Board, file: str, line: str) -> None:
    with open(Path(board.folder, "board", file), "a") as stream:
        stream.write(line + "\n")


def test_mistakes_in_names_and_keys(board: Board, capsys: pytest.CaptureFixture) -> None:
    run = ["-d", "board", *flags(board)]
    assert "Did you mean 'LightGCN'" in mistake(capsys, "-m", "LightGNC", *run)
    assert "Did you mean 'board'" in mistake(capsys, "-m", "BPR", "-d", "bord", *flags(board))
    assert "Did you mean 'learning_rate'" in mistake(capsys, "-m", "BPR", *run, "--learing_rate=0.1")
    assert "none.yaml" in mistake(capsys, "-m", "BPR", *run, "--config_files=none.yaml")
    assert "BPR is trained in one process only" in mistake(capsys, "-m", "BPR", *run, "--nproc=2")
    assert "several processes are for one run" in mistake(capsys, "-m", "MF,ERM", *run, "--nproc=2")
    assert "--group_offset=1" in mistake(capsys, "-m", "MF", *run, "--nproc=2", "--group_offset=1")
    assert "--model: expected a name, or several such as A,B, but got ','" in mistake(capsys, "-m", ",", *run)
    assert "--dataset: expected a name" in mistake(capsys, "-m", "BPR", "-d", " , ", *flags(board))
    assert "--seeds: expected numbers" in mistake(capsys, "-m", "BPR", *run, "--seeds=a,b")
    assert "contradict" in mistake(capsys, "-m", "BPR", *run, "--seeds=1", "--seed=2")
    assert "--nproc: invalid int value: 'x'" in mistake(capsys, "--nproc=x")
    assert "no run to continue" in mistake(capsys, "--resume=nowhere")
    assert "topk: 50 is more than" in mistake(capsys, "-m", "BPR", "-d", "board", *flags(board, topk=[50]))


def test_mistakes_in_files(board: Board, capsys: pytest.CaptureFixture) -> None:
    run = ["-m", "BPR", "-d", "board", *flags(board)]
    file = "board.valid.inter"
    header = Path(board.folder, "board", file).read_text().splitlines()[0]
    for content in ([header, "u1\ti1"], [""], [header]):
        write_lines(board, file, *content)
        line = mistake(capsys, *run)
        assert file in line or "validation" in line
    Path(board.folder, "board", file).unlink()
    assert f"{file}: there is no such file" in mistake(capsys, *run)


@pytest.mark.parametrize(
    ("ending", "call", "found"),
    [
        (
            "board.train.inter",
            "open",
            r"board.train.inter: cannot be read (Permission denied); look at its permissions",
        ),
        (
            "data/board/board.yaml",
            "is_file",
            r"board: cannot be read (Permission denied); look at its permissions and owner",
        ),
        ("data/board/board.yaml", "read_text", r"board.yaml cannot be read"),
        ("board.user", "is_file", r"board.user: Permission denied; look at its permissions and owner"),
    ],
)
def test_what_may_not_be_read(
    ending: str,
    call: str,
    found: str,
    board: Board,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_lines(board, "board.yaml", "{}")
    forbid(monkeypatch, ending, call)
    place = ["--kind=group", "--field=sex", "--values=[F]", "--name=x", "--benchmark_filename=[train, valid, test]"]
    assert found in mistake(capsys, "split", "board", *place, f"--data_path={board.folder}")


def test_an_output_folder_that_cannot_be_written(board: Board, capsys: pytest.CaptureFixture) -> None:
    Path("file").write_text("")
    line = mistake(capsys, "-m", "BPR", "-d", "board", *flags(board, output_dir="file/runs"))
    assert "output_dir: cannot write to" in line


def test_a_disk_that_fills_up_costs_nothing(
    board: Board, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full once data.json and config.yaml are stored; with room again the run ends as usual."""
    assert cli.main(["-m", "BPR", "-d", "board", *flags(board, epochs=4, output_dir="calm")]) == 0
    expected = json.loads(next(Path("calm/board/BPR").glob("*/result.json")).read_text())
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) >= 5:  # a file and its folder
            raise OSError(errno.ENOSPC, "No space left on device")

    arguments = ["-m", "BPR", "-d", "board", *flags(board, epochs=4)]
    with monkeypatch.context() as patch:
        patch.setattr("recbole_painvrl.files.os.fsync", full)
        line = mistake(capsys, *arguments)
    assert "the disk is full" in line
    (folder,) = Path("runs/board/BPR").iterdir()
    assert not list(folder.glob(".*.part"))
    assert cli.main([f"--resume={folder}"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["test_results"] == expected["test_results"]


def test_a_broken_configuration_file(board: Board, capsys: pytest.CaptureFixture) -> None:
    Path("broken.yaml").write_text("epochs: [1\n")
    assert "broken.yaml" in mistake(capsys, "-m", "BPR", "-d", "board", "--config_files=broken.yaml", *flags(board))


# in processes of their own: each takes seconds to import


def command(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    call = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(call, capture_output=True, text=True, env=environment, check=False)


def test_the_script_trains_bpr_on_ml_100k() -> None:
    done = command("-m", "BPR", "--epochs=2", "--show_progress=False", "--train_batch_size=8192")
    assert done.returncode == 0, done.stderr
    assert "test result" in done.stderr
    (path,) = Path("runs/ml-100k/BPR").iterdir()
    result = RunFolder(path).read_json("result.json")
    assert result["epochs"] == 2
    assert 0 < result["test_result"]["ndcg@20"] < 1
    assert {name.name for name in Path().iterdir()} == {"runs"}


def test_the_script_tells_a_mistake_in_one_line() -> None:
    done = command("-m", "BPR", "--learning_rat=1")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert "Did you mean 'learning_rate'" in done.stderr


def killed_in_epoch(arguments: list[str], run: Path, epoch: int) -> None:
    """Starts a run and kills it without warning once it has recorded ``epoch``."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(RunFolder(run).records("train")) <= epoch and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_run_continues_to_the_same_result(board: Board) -> None:
    arguments = ["-m", "BPR", "-d", "board", *flags(board, epochs=30, stopping_step=30)]
    assert cli.main([*arguments, "--output_dir=straight"]) == 0
    (straight,) = Path("straight/board/BPR").iterdir()
    run = Path("runs/board/BPR", straight.name)
    killed_in_epoch(arguments, run, epoch=3)
    assert not (run / "done").exists()
    assert cli.main([f"--resume={run}"]) == 0
    one, other = (RunFolder(path).read_json("result.json") for path in (straight, run))
    keys = ("best_valid_score", "best_valid_result", "test_results", "test_groups", "epochs")
    assert [one[key] for key in keys] == [other[key] for key in keys]
    epochs = [record["epoch"] for record in RunFolder(run).records("train")]
    assert epochs == list(range(30))


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """``recbole-painvrl doctor | head -1``: a status, and no traceback when the pipe closes."""

    def into_a_closed_pipe(_: list[str]) -> int:
        raise BrokenPipeError

    redirected = []
    monkeypatch.setitem(cli.COMMANDS, "doctor", into_a_closed_pipe)
    monkeypatch.setattr(cli.os, "dup2", lambda *descriptors: redirected.append(descriptors))
    assert cli.main(["doctor"]) == 141
    assert redirected

"""What SECURITY.md promises: no code out of a file, nothing outside the folders that were named, and no network."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from recbole_painvrl import cli
from recbole_painvrl.config import Config
from recbole_painvrl.data.dataset import MultimodalDataset
from recbole_painvrl.errors import UserError
from tests.convert.inputs import write_csv
from tests.convert.test_restricted import Hostile
from tests.inputs import Board, write_checkerboard

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*(ROOT / "recbole_painvrl").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), ROOT / "setup.py"])
FAST = ["--epochs=1", "--topk=3", "--embedding_size=4", "--use_gpu=False", "--show_progress=False", "--state=ERROR"]

PARTS = '--benchmark_filename=["train", "valid", "test"]'

# ---- what the source may not call

FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.dump",
    "pickle.dumps",
    "pickle.Pickler",
    "marshal.load",
    "marshal.loads",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "pd.read_pickle",
    "pd.eval",
    "shelve.open",
    "joblib.load",
    "shutil.unpack_archive",
    "urllib.request.urlopen",
    "urllib.request.urlretrieve",
    "socket.create_connection",
    "socket.socket",
    "torch.hub.load",
}
MODULES = {
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "requests",
    "urllib3",
    "http",
    "httpx",
    "ftplib",
    "tarfile",
    "urllib.request",
    "tempfile.mktemp",
}
ALLOWED = {
    ("launch.py", "socket.socket"),  # asks the system for a free port where --nproc asks for several processes
    ("records.py", "tarfile"),  # writes an archive and reads none
}
NEEDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
METHODS = {"extractall", "extract", "extractfile", "read_pickle", "to_pickle", "query", "eval_expression"}


def called(node: ast.Call) -> str:
    """Returns the name of what is called, such as ``torch.load``."""
    return ast.unparse(node.func)


def faults(path: Path) -> Iterator[str]:
    """Yields each call of a file that could run code, or read what could."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            names = [name for name in names if (path.name, name) not in ALLOWED]
            yield from (f"{place} imports {name}" for name in names if name in MODULES or name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        keywords = {word.arg: word.value for word in node.keywords}
        known = (path.name, name) in ALLOWED
        if not known and (name in FORBIDDEN or name.rpartition(".")[2] in METHODS):
            yield f"{place} calls {name}"
        if name in NEEDED:
            word, value = NEEDED[name]
            given = keywords.get(word)
            if not isinstance(given, ast.Constant) or given.value is not value:
                yield f"{place} calls {name} without {word}={value}"
        if name == "yaml.load" and ast.unparse(keywords.get("Loader", ast.Constant(None))) != "Loader":
            yield f"{place} calls yaml.load without our Loader"
        if isinstance(keywords.get("shell"), ast.Constant) and keywords["shell"].value:
            yield f"{place} calls a shell"


def test_the_source_calls_nothing_that_runs_code_of_a_file() -> None:
    assert [fault for path in SOURCES for fault in faults(path)] == []


def test_the_checker_sees_what_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "eval('1')",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x)",
        "pickle.load(x)",
        "import dill",
        "yaml.load(x, Loader=yaml.Loader)",
        "subprocess.run(x, shell=True)",
        "frame.query(x)",
        "from http.client import x",
    ]
    (tmp_path / "bad.py").write_text("\n".join(lines))
    monkeypatch.setattr("tests.test_security.ROOT", tmp_path)
    assert len(list(faults(tmp_path / "bad.py"))) == len(lines)


def test_only_the_restricted_reader_unpickles() -> None:
    with_unpickler = [
        path.name for path in SOURCES if "pickle.Unpickler(" in path.read_text() or "Unpickler)" in path.read_text()
    ]
    assert with_unpickler == ["restricted.py"]


# ---- hostile files on every way in


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return write_checkerboard(tmp_path / "dataset")


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """What a hostile file would create; it is not there afterwards."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code out of a file was run"


def one_line(capsys: pytest.CaptureFixture, *words: str) -> str:
    """Runs a command that has to be refused and returns its one line."""
    capsys.readouterr()
    assert cli.main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def hostile_array(marker: Path) -> np.ndarray:
    array = np.empty((26, 1), dtype=object)
    array[:] = Hostile(marker)
    return array


def test_a_feature_file_with_objects_is_refused(board: Board, marker: Path) -> None:
    np.save(board.folder / "board" / "board.invariant.npy", hostile_array(marker))
    with pytest.raises(UserError, match=r"board\.invariant\.npy: not a readable"):
        MultimodalDataset(Config("PaInvRL", "board", config_dict=board.config()))


def test_recboles_cached_data_sets_are_not_read(
    board: Board, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """RecBole would find them by their names, without being asked."""
    saved = tmp_path / "saved"
    saved.mkdir()
    for name in (
        "board-Dataset.pth",
        "board-GeneralDataset.pth",
        "board-MultimodalDataset.pth",
        "board-for-BPR-dataloader.pth",
    ):
        (saved / name).write_bytes(pickle.dumps(Hostile(marker)))
    keys = [
        f"--data_path={board.folder}",
        f"--checkpoint_dir={saved}",
        f"--output_dir={tmp_path / 'runs'}",
        PARTS,
        *FAST,
    ]
    assert cli.main(["--model=BPR", "--dataset=board", *keys]) == 0
    for key in ("save_dataset=True", "save_dataloaders=True", f"dataset_save_path={saved}/board-Dataset.pth"):
        assert "pickled data sets are neither written nor read" in one_line(capsys, "-d", "board", *keys, f"--{key}")
    assert {path.name for path in saved.iterdir()} >= {"board-Dataset.pth"}


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {0}']",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!!python/object/new:os.system ['touch {0}']",
        "!!python/object/apply:builtins.open ['{0}', 'w']",
    ],
)
def test_tags_of_yaml_build_nothing(
    board: Board, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture, tag: str
) -> None:
    text = f"epochs: {tag.format(marker)}\n"
    (tmp_path / "given.yaml").write_text(text)
    place = f"--data_path={board.folder}"
    assert "given.yaml" in one_line(capsys, "-d", "board", place, f"--config_files={tmp_path / 'given.yaml'}")
    assert "epochs" in one_line(capsys, "-d", "board", place, f"--epochs={tag.format(marker)}")
    (board.folder / "board" / "board.yaml").write_text(text)
    assert "board.yaml" in one_line(capsys, "-d", "board", place)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("trained")
    write_checkerboard(folder / "dataset")
    keys = [f"--data_path={folder / 'dataset'}", f"--output_dir={folder / 'runs'}", *FAST]
    assert cli.main(["--model=BPR", "--dataset=board", PARTS, *keys]) == 0
    (run,) = (folder / "runs" / "board" / "BPR").iterdir()
    return run


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_checkpoints_are_not_opened(
    trained: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture, zipped: bool
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "done").unlink(missing_ok=True)
    for name in ("model-best.pth", "model-last.pth"):
        state = {"format": "recbole_painvrl 1", "state_dict": Hostile(marker)}
        torch.save(state, run / name, _use_new_zipfile_serialization=zipped)
    assert "model-" in one_line(capsys, "recommend", str(run))
    assert "model-" in one_line(capsys, "recommend", str(run / "model-best.pth"))
    assert "model-" in one_line(capsys, f"--resume={run}")


@pytest.mark.parametrize(
    "state",
    [
        {"x": {"__kind__": "no"}},
        {"x": {"__kind__": "array", "dtype": "O", "shape": [1], "bytes": torch.ones(8).byte()}},
        {"x": {"__kind__": "sparse"}},
        {"x": {"__kind__": "array", "dtype": 3, "shape": "x", "bytes": 1}},
    ],
)
def test_made_up_contents_of_a_checkpoint(tmp_path: Path, state: dict[str, Any]) -> None:
    from recbole_painvrl import checkpoint

    torch.save({"format": checkpoint.FORMAT, **state}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth"):
        checkpoint.load(tmp_path / "x.pth")


def test_records_with_objects_are_refused(
    trained: Path, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "runs" / "board" / "BPR" / trained.name
    shutil.copytree(trained, run)
    with np.load(run / "per_user.npz", allow_pickle=False) as stored:
        names = list(stored)
    np.savez(run / "per_user.npz", **{name: hostile_array(marker) for name in names})
    assert cli.main(["report", str(run), "--output", str(tmp_path / "report")]) in (0, 2)
    assert len(capsys.readouterr().err.splitlines()) <= 1


# ---- nothing outside the folders that were named


@pytest.mark.parametrize("name", ["../board", "a/b", "..", ".", "/etc", "..\\board", "a\0b"])
def test_a_data_set_has_a_plain_name(board: Board, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="plain name"):
        Config("BPR", name, config_dict={"data_path": str(board.folder)})
    (tmp_path / "raw").mkdir()
    write_csv(tmp_path / "raw")
    if name != "a\0b":  # no program can be given that as an argument
        assert (
            cli.main(["convert", "csv", str(tmp_path / "raw"), "--name", name, "--data_path", str(tmp_path / "out")])
            == 2
        )
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "file", ["../secret.npy", "/etc/secret.npy", "a/../../secret.npy", "..\\secret.npy", "C:\\secret.npy"]
)
def test_features_come_from_the_data_folder(board: Board, capsys: pytest.CaptureFixture, file: str) -> None:
    """Also where a data set is split, which takes the files over."""
    np.save(board.folder / "secret.npy", np.ones((26, 1)))
    settings = {"modalities": {"look": {"source": "npy", "file": file}}}
    with pytest.raises(UserError, match="not in the data folder"):
        MultimodalDataset(Config("PaInvRL", "board", config_dict=board.config(**settings)))
    given = {**settings, "benchmark_filename": ["train", "valid", "test"]}
    (board.folder / "board" / "board.yaml").write_text(yaml.safe_dump(given))
    words = ("split", "board", "--kind=popularity", "--name=held", f"--data_path={board.folder}")
    assert "not in the data folder" in one_line(capsys, *words)
    assert not (board.folder / "held").exists()


@pytest.mark.parametrize(
    "key", ["output_dir: /tmp/x", "data_path: /", "checkpoint_dir: /tmp/x", "log_wandb: True", "tuned_defaults: False"]
)
def test_a_data_set_says_nothing_of_places_and_networks(board: Board, capsys: pytest.CaptureFixture, key: str) -> None:
    (board.folder / "board" / "board.yaml").write_text(key)
    assert f"must not set {key.split(':')[0]}" in one_line(capsys, "-d", "board", f"--data_path={board.folder}")


def test_names_in_an_archive_lead_nowhere(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Members are read in memory, whatever they are called."""
    run = tmp_path / "runs" / "board" / "BPR" / trained.name
    shutil.copytree(trained, run)
    with zipfile.ZipFile(run / "per_user.npz", "a") as archive:
        archive.writestr("../../../escaped.npy", b"x")
        archive.writestr(f"{tmp_path}/escaped.npy", b"x")
    assert cli.main(["report", str(run), "--output", str(tmp_path / "report")]) == 0
    assert not list(tmp_path.rglob("escaped*"))


def test_what_a_file_says_cannot_steer_a_terminal() -> None:
    line = str(UserError("found '\x1b[2J\x07\r\n\u202egpj' here"))
    assert line.isprintable() and "\\x1b[2J" in line


# ---- no network


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects anywhere, or asks for an address, fails."""

    def refuse(*_arguments: Any, **_keywords: Any) -> Any:
        raise AssertionError("something wanted to use the network")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)


def test_every_command_works_without_a_network(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    write_csv(tmp_path / "raw")
    assert cli.main(["convert", "csv", "raw", "--name", "tiny"]) == 0
    write_checkerboard(tmp_path / "dataset")
    stages = ["--warmup_epochs=1", "--n_rounds=1", "--n_environments=2", "--env_max_iter=1", "--mask_steps=2"]
    assert cli.main(["--model=PaInvRL", "--dataset=board", PARTS, *FAST[1:], "--epochs=2", *stages]) == 0
    (run,) = (tmp_path / "runs" / "board" / "PaInvRL").iterdir()
    assert cli.main(["recommend", str(run), "--output=top.csv"]) == 0
    assert cli.main(["report", str(run), "--output=report"]) == 0
    assert json.loads((run / "result.json").read_text())["test_result"]
    assert os.path.exists("top.csv") and "http://" not in (tmp_path / "report" / "index.html").read_text().replace(
        "http://www.w3.org", ""
    )

"""The command writes a data set that trains as it is, whole or not at all, and says what is wrong in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.cli import main
from recbole_painvrl.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--users=40", "--items=60")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def made(data_path: Path, *words: str, recipe: str = "r1", name: str = "tiny") -> Path:
    """Runs the command and returns the folder it wrote."""
    assert main(["simulate", recipe, "--name", name, f"--data_path={data_path}", *SMALL, *words]) == 0
    return data_path / name


@pytest.mark.parametrize("recipe", ["r1", "entangled", "shift", "users"])
def test_same_seed_same_bytes_and_another_seed_other_ones(tmp_path: Path, recipe: str) -> None:
    one, two, other = (
        contents(made(tmp_path / place, f"--seed={seed}", recipe=recipe))
        for place, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == two and one.keys() == other.keys()
    same = {name for name in one if one[name] == other[name]}
    rest = {name for name in same if not name.endswith((".ids", ".item", ".yaml")) and name != "gammas.csv"}
    assert not rest


def test_files_and_columns(tmp_path: Path) -> None:
    folder = made(tmp_path, "--gamma=2,0", "--modalities=look,sound", "--noise_columns=0", "--seed=3")
    assert {path.name for path in folder.iterdir()} == {
        *(f"tiny.{split}.inter" for split in ("train", "valid", "test", "test_ood")),
        *(f"tiny.{modality}.{end}" for modality in ("look", "sound") for end in ("npy", "ids")),
        *("tiny.item", "tiny.yaml", "truth.csv", "gammas.csv", "recipe.json"),
    }
    parts = [pd.read_csv(folder / f"tiny.{split}.inter", sep="\t") for split in ("train", "valid", "test", "test_ood")]
    heads = ["user_id:token", "item_id:token", "timestamp:float", "session_id:token", "environment:token"]
    assert all(list(part) == heads for part in parts)
    table = pd.concat(parts)
    stays = table.groupby("session_id:token")[["user_id:token", "environment:token"]].nunique()
    assert (stays == 1).all().all() and len(stays) == 40 * 3
    truth = pd.read_csv(folder / "truth.csv")
    assert list(truth) == ["modality", "dimension", "truth"]
    assert truth.groupby(["modality", "truth"]).size().to_dict() == {
        (modality, kind): 6 for modality in ("look", "sound") for kind in ("invariant", "spurious")
    }
    assert np.load(folder / "tiny.look.npy").shape == (60, 12)
    made_by = json.loads((folder / "recipe.json").read_text())
    assert (made_by["recipe"], made_by["seed"], made_by["constants"]["gamma"]) == ("r1", 3, [2.0, 0.0])


def test_gamma_of_each_sliding_set_is_written(tmp_path: Path) -> None:
    gammas = pd.read_csv(made(tmp_path, "--shifts=3", recipe="shift") / "gammas.csv").set_index("set")["gamma"]
    assert gammas[gammas.index.str.startswith("test_shift_")].to_dict() == {
        "test_shift_0": 1.5,
        "test_shift_1": 0.0,
        "test_shift_2": -1.5,
    }


def test_rotation_undoes_to_the_plain_features(tmp_path: Path) -> None:
    plain, hidden = made(tmp_path, name="plain"), made(tmp_path, recipe="entangled", name="hidden")
    with np.load(hidden / "truth_rotation.npz", allow_pickle=False) as rotations:
        for modality, rotation in rotations.items():
            undone = np.load(hidden / f"hidden.{modality}.npy") @ rotation.T
            assert undone == pytest.approx(np.load(plain / f"plain.{modality}.npy"), abs=1e-5)
    assert (hidden / "truth_latent.csv").read_bytes() == (plain / "truth.csv").read_bytes()
    assert not (hidden / "truth.csv").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path)
    before = contents(folder)
    arguments = ["simulate", "r1", "--name=tiny", f"--data_path={tmp_path}", "--seed=5", *SMALL]
    assert main(arguments) == 2
    assert "exists already; choose another --name or say --overwrite" in capsys.readouterr().err
    assert contents(folder) == before
    assert main([*arguments, "--overwrite"]) == 0
    assert contents(folder) != before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["shfit"], "unknown recipe 'shfit', expected one of rb, r1, r2, shift, entangled, users. Did you"),
        (["r1", "--users=many"], "--users=many: expected a whole number"),
        (["r1", "--users=0"], "--users=0: expected 1 or more"),
        (["r1", "--gamma=3,x"], "--gamma=3,x: expected numbers such as 3,1.5,0"),
        (["r1", "--gamma=nan"], "--gamma=nan: expected finite numbers"),
        (["r1", "--gamma="], "--gamma=: expected finite numbers"),
        (["r1", "--gamma_ood=inf"], "--gamma_ood=inf: expected a finite number"),
        (["r1", "--popularity=-1"], "--popularity=-1.0: expected a finite number, 0 or more"),
        (["r1", "--items=39"], "--items=39: a user chooses 39 different ones"),
        (["r1", "--shifts=1"], "--shifts=1: expected 0, or 2 and more"),
        (["r1", "--shared=2"], "--shared=2.0: expected a number from 0 to 1"),
        (["r1", "--rotated=maybe"], "--rotated=maybe: expected true or false"),
        (["r1", "--modalities=a,a"], "--modalities=a,a: expected different names such as"),
        (["r1", "--modalities=a/b"], "--modalities=a/b: expected different names such as"),
        (["r1", "--modalities=a.b"], "expected different names such as visual,acoustic, of letters, digits, _ and -"),
        (["r1", "--seed=-1"], "--seed=-1: expected 0 or more"),
        (["r1", "--invariant_columns=0", "--spurious_columns=0", "--noise_columns=0"], "at least one column"),
        (["users", "--users=2"], "--users=2: expected at least one for each of 3 environments"),
        (["r1", "--user=5"], "--user=5"),
    ],
)
def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str) -> None:
    assert main(["simulate", *words, "--name=tiny", f"--data_path={tmp_path / 'dataset'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and complaint in error
    assert not (tmp_path / "dataset").exists()


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b"])
def test_names(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["simulate", "r1", f"--name={name}", f"--data_path={tmp_path}"]) == 2
    assert "is no plain name" in capsys.readouterr().err


def test_columns_of_one_kind_may_be_missing(tmp_path: Path) -> None:
    data = simulate("r1", "tiny", 0, tmp_path, users=20, items=60, invariant_columns=0, noise_columns=0)
    assert all((truth == 0).all() for truth in data.truth.values())


def test_help_names_recipes_and_constants(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    text = capsys.readouterr().out
    assert "entangled" in text and "--gamma_ood" in text and "(3.0,1.5,0.0)" in text


def test_the_committed_data_set_is_what_its_command_makes(tmp_path: Path) -> None:
    committed = ROOT / "dataset" / "planted-small"
    lines = (ROOT / "dataset" / "README.md").read_text().splitlines()
    command = next(line for line in lines if line.startswith("recbole-painvrl simulate"))
    assert main([*command.split()[1:], f"--data_path={tmp_path}"]) == 0
    made_now = contents(tmp_path / "planted-small")
    assert made_now.keys() == contents(committed).keys()
    assert made_now["planted-small.train.inter"] == contents(committed)["planted-small.train.inter"]
    assert sum(map(len, made_now.values())) < 1_000_000


def test_from_simulation_to_results(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "run_recbole_painvrl.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    simulated = ["simulate", "shift", "--name=tiny", "--shifts=2", *SMALL]
    trained = ["--model=ERM", "--dataset=tiny", "--epochs=2", "--env_field=environment"]
    for words in (simulated, trained):
        done = subprocess.run([*program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("runs/tiny/ERM/*/result.json")
    assert {"test", "test_ood", "test_shift_0", "test_shift_1"} <= set(json.loads(result.read_text())["test_results"])

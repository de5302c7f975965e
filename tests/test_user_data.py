"""A user's own data from CSV tables to recommendations, and every mistake on that way told in one line."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_painvrl import cli
from recbole_painvrl.report.records import RunFolder
from tests.inputs import write_checkerboard

SCRIPT = Path(__file__).resolve().parent.parent / "run_recbole_painvrl.py"
STAGES = {"warmup_epochs": 4, "n_rounds": 2, "n_environments": 2, "env_max_iter": 3, "mask_steps": 10}
SIZES = {"epochs": 12, "topk": [3, 20], "embedding_size": 8, "feature_size": 4}
KEYS = {**STAGES, **SIZES, "use_gpu": False, "show_progress": False}


def write_source(folder: Path) -> dict[str, pd.DataFrame]:
    """Writes a checkerboard as a user has it: tables with plain numbers, row i of a matrix = item i."""
    board = write_checkerboard(folder.parent / "board")
    folder.mkdir()
    parts = {"train": board.train, "valid": board.valid, "test": board.test, "test_ood": board.test_ood}
    tables = {}
    for name, frame in parts.items():
        table = frame.rename(columns={"user_id": "user", "item_id": "item"})
        table["user"], table["item"] = table["user"].str[1:].astype(int), table["item"].str[1:].astype(int)
        table.to_csv(folder / f"{name}.csv", index=False)
        tables[name] = table
    random = np.random.default_rng(0)
    telling = np.where(np.arange(26) % 2 == 0, 1.0, -1.0)[:, None]
    for letter, width in (("v", 6), ("t", 3)):
        noise = random.normal(0, 0.3, (26, width - 1))
        np.save(folder / f"{letter}_feat.npy", np.hstack([telling, noise]).astype(np.float32))
    return tables


def flags(**keys: Any) -> list[str]:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in keys.items()}
    return [f"--{key}={value}" for key, value in texts.items()]


class Home:
    """A folder with raw tables, the data set made of them and a trained run."""

    def __init__(self, folder: Path) -> None:
        self.tables = write_source(folder / "raw")
        self.folder, self.data = folder, folder / "dataset" / "shop"
        place = ["--name", "shop", "--data_path", str(folder / "dataset")]
        self.converted = cli.main(["convert", "csv", str(folder / "raw"), *place])
        keys = {**KEYS, "data_path": str(folder / "dataset"), "output_dir": str(folder / "runs")}
        self.trained = cli.main(["--model=PaInvRL", "--dataset=shop", *flags(**keys)])

    @property
    def run(self) -> Path:
        (run,) = (self.folder / "runs" / "shop" / "PaInvRL").iterdir()
        return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Home(folder)


# the way that works


def test_both_commands_succeed_and_write_nothing_elsewhere(home: Home) -> None:
    assert (home.converted, home.trained) == (0, 0)
    assert {path.name for path in home.folder.iterdir()} == {"board", "raw", "dataset", "runs"}
    assert (home.run / "done").exists()


def test_the_result_has_every_test_set(home: Home) -> None:
    result = RunFolder(home.run).read_json("result.json")
    assert set(result["test_results"]) == {"test", "test_ood"}
    assert result["test_result"] == result["test_results"]["test"]
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@20"]
    assert all(found["recall@3"] > 0.9 for found in result["test_results"].values())  # at random 3 of 16 items: 0.19


def test_the_mask_has_a_row_for_each_dimension(home: Home) -> None:
    with open(home.run / "mask.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["modality", "dimension", "mask"]
    expected = [("textual", str(k)) for k in range(3)] + [("visual", str(k)) for k in range(6)]
    assert sorted((row["modality"], row["dimension"]) for row in rows) == expected
    assert all(0 <= float(row["mask"]) <= 1 for row in rows)


def test_every_training_interaction_has_an_environment(home: Home) -> None:
    with np.load(home.run / "environments.npz", allow_pickle=False) as stored:
        pairs = sorted(zip(stored["user"].tolist(), stored["item"].tolist(), strict=True))
        labels = stored["label"]
    train = home.tables["train"].astype(str)
    assert pairs == sorted(zip(train["user"], train["item"], strict=True))
    assert set(labels.tolist()) == {0, 1}
    last = RunFolder(home.run).records("identification")[-1]
    assert np.bincount(labels).tolist() == last["sizes"]


def test_per_user_values_average_to_the_result(home: Home) -> None:
    result = RunFolder(home.run).read_json("result.json")
    with np.load(home.run / "per_user.npz", allow_pickle=False) as stored:
        for name in ("test", "test_ood"):
            assert sorted(map(int, stored[f"{name}/users"])) == list(range(40))
            value = stored[f"{name}/ndcg@3"].mean()
            assert value == pytest.approx(result["test_results"][name]["ndcg@3"], abs=1e-6)


def test_the_model_is_plain_data(home: Home) -> None:
    state = torch.load(home.run / "model-best.pth", weights_only=True)
    with open(home.run / "mask.csv", newline="") as file:
        mask = [float(row["mask"]) for row in csv.DictReader(file)]
    assert state["state_dict"]["mask"].tolist() == mask
    assert state["config"]["dataset"] == "shop"


def test_recommendations_are_new_and_of_the_users_taste(home: Home, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["recommend", str(home.run), "--topk=3"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 40 * 3
    seen = pd.concat([home.tables["train"], home.tables["valid"]])
    known = set(zip(seen["user"], seen["item"], strict=True))
    listed = [(int(row["user"]), int(row["item"])) for row in rows]
    assert not known & set(listed)
    assert np.mean([user % 2 == item % 2 for user, item in listed]) > 0.9
    assert [row["rank"] for row in rows[:3]] == ["1", "2", "3"]


def test_a_user_sees_one_line_and_status_2(home: Home, tmp_path: Path) -> None:
    """In a process of its own, as a shell sees it."""
    call = [sys.executable, str(SCRIPT), "-d", "shop", *flags(**KEYS, data_path=str(home.data.parent))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*call, "--mask_step=3"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: unknown key 'mask_step' (from the command line). Did you mean 'mask_steps'?\n"
    assert not list(tmp_path.iterdir())


# mistakes; each leaves no run and no half of a data set


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shop(home: Home, tmp_path: Path) -> Path:
    """A copy of the data set that a test may spoil; the working folder is beside it."""
    return Path(shutil.copytree(home.data, tmp_path / "dataset" / "shop"))


def mistake(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Returns the one line of the complaint, which comes after whatever was logged."""
    capsys.readouterr()
    assert cli.main(list(arguments)) == 2
    written = capsys.readouterr()
    errors = [line for line in written.err.splitlines() if line.startswith("error:")]
    assert errors == written.err.splitlines()[-1:]
    assert "Traceback" not in written.err + written.out
    left = [path for path in Path("runs").rglob("*") if path.is_file() and path.suffix not in (".log",)]
    assert not [path for path in left if "tfevents" not in path.name]
    return errors[0]


def refused(capsys: pytest.CaptureFixture, **keys: Any) -> str:
    return mistake(capsys, "--model=PaInvRL", "--dataset=shop", *flags(**{**KEYS, "epochs": 5, **keys}))


def spoil_matrix(shop: Path) -> None:
    values = np.load(shop / "shop.visual.npy")
    values[3, 1] = np.nan
    np.save(shop / "shop.visual.npy", values)


def spoil_ids(shop: Path) -> None:
    (shop / "shop.visual.ids").write_text("".join(f"sku{item}\n" for item in range(26)))


def drop_id(shop: Path) -> None:
    lines = (shop / "shop.visual.ids").read_text().splitlines()
    (shop / "shop.visual.ids").write_text("\n".join(lines[:-1]) + "\n")


def double_id(shop: Path) -> None:
    lines = (shop / "shop.visual.ids").read_text().splitlines()
    (shop / "shop.visual.ids").write_text("\n".join([*lines[:-1], lines[0]]) + "\n")


def cut_row(shop: Path) -> None:
    lines = (shop / "shop.train.inter").read_text().splitlines()
    lines[6] = lines[6].split("\t")[0]
    (shop / "shop.train.inter").write_text("\n".join(lines) + "\n")


def empty(shop: Path) -> None:
    (shop / "shop.valid.inter").write_text("")


def remove_ids(shop: Path) -> None:
    (shop / "shop.textual.ids").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_matrix, ["shop.visual.npy, row 3", "item 3", "dimension 1", "nan"]),
        (spoil_ids, ["shop.visual.npy", "none of its items is in the data set", "'sku0'"]),
        (drop_id, ["shop.visual.npy", "26 rows", "shop.visual.ids has 25 lines"]),
        (double_id, ["shop.visual.npy, row 25", "the item '0'", "row 0"]),
        (remove_ids, ["shop.textual.ids: there is no such file"]),
        (cut_row, ["shop.train.inter, line 7", "1 columns where the header names 4"]),
        (empty, ["shop.valid.inter: the file is empty"]),
    ],
)
def test_a_spoiled_file_is_named(
    shop: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], words: list[str]
) -> None:
    spoil(shop)
    line = refused(capsys)
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"modalities": {"acoustic": None}}, ["modalities.acoustic", "shop.acoustic.npy", "shop.textual.npy"]),
        ({"modalities": {"visual": {"source": "mp3"}}}, ["modalities.visual.source: 'mp3'", "npy"]),
        ({"modalities": {"visual": {"normalise": "l2"}}}, ["modalities.visual", "'normalise'", "'normalize'"]),
        ({"modalities": {}}, ["PaInvRL needs item features", "modalities", "--model=ERM"]),
        ({"env_field": "season"}, ["env_field season", "'season'", "session_id"]),
        ({"env_level": "session", "load_col": {"inter": ["user_id", "item_id"]}}, ["session needs a", "'session_id'"]),
        ({"env_level": "user", "n_environments": 41}, ["n_environments: 41", "40"]),
        ({"epochs": 4}, ["epochs", "warmup_epochs 4"]),
        ({"refit_each_round": True}, ["epochs", "warmup_epochs 4", "n_rounds 2", "refit_each_round True"]),
        ({"n_environments": 1}, ["n_environments", "from 2", "1"]),
        ({"pareto_bounds": [0.7, 0.4]}, ["pareto_bounds", "add up to at most 1", "[0.7, 0.4]"]),
        ({"topk": [5, 500]}, ["topk", "500", "26"]),
    ],
)
def test_a_key_that_does_not_fit_the_data_is_named(
    shop: Path, capsys: pytest.CaptureFixture, keys: dict[str, Any], words: list[str]
) -> None:
    line = refused(capsys, **keys)
    assert [word for word in words if word not in line] == []


def test_data_without_any_modality(shop: Path, capsys: pytest.CaptureFixture) -> None:
    for path in [*shop.glob("*.npy"), *shop.glob("*.ids")]:
        path.unlink()
    settings = (shop / "shop.yaml").read_text().splitlines()
    at = next(number for number, line in enumerate(settings) if line.startswith("modalities:"))
    (shop / "shop.yaml").write_text("\n".join(settings[:at]) + "\n")
    assert "PaInvRL needs item features" in refused(capsys)


CHOICES = {
    "convert": "attention",
    "irm_penalty": "irmv1",
    "pareto_solver": "fixed",
    "pareto_normalize": "loss+",
    "env_assign": "logit",
    "env_level": "session",
    "backbone": "lightgcn",
    "rec_loss": "ultragcn",
    "new_items": "neighbors",
    "feature_rotation": "whiten",
    "batch_by": "interaction",
    "control": "labels",
}


@pytest.mark.parametrize("key", CHOICES)
def test_a_wrong_choice_names_the_key_and_the_right_ones(shop: Path, capsys: pytest.CaptureFixture, key: str) -> None:
    line = refused(capsys, **{key: "banana"})
    assert [word for word in (key, "banana", CHOICES[key]) if word not in line] == []


WRONG_TYPES = {
    "mask_steps": ["many", 0, -3, 1.5, None, True],
    "n_environments": ["two", 2.5, None],
    "temperature": ["hot", [0.2], -1],
    "loss_weights": [[1, 2], 1.0, "heavy", ["a", "b", "c", "d"], None],
    "pareto_bounds": [[0.5], 0.5, ["a", "b"], [-0.5, 0.5], None],
    "warmup_epochs": ["long", -1, None],
    "n_rounds": [-1, "some"],
    "embedding_size": ["wide", -8],
    "feature_size": [0],
    "init_std": [-0.1, "small"],
    "id_dropout": [1.5],
    "mask_threshold": ["half", 2],
    "env_min_share": ["few", 2],
    "mask_batch_size": [-5],
    "mask_lr": ["fast", -0.1, 0],
    "irm_weight": [-1],
    "invariant_loss_weight": [1.5, "half"],
    "variant_weight": ["x", None, -0.1, True, "validate", [0.5]],
    "variant_weights": [[], 0.5, "all", None, [0.5, -1], [0.5, "x"]],
    "variant_tolerance": ["some", -0.1, 1.5, None],
    "variant_training_weight": [0, -1, "full", None],
    "refit_each_round": ["maybe", 1],
    "env_field": [3],
}


@pytest.mark.parametrize("key", WRONG_TYPES)
def test_a_wrong_type_or_range_names_key_and_value(shop: Path, capsys: pytest.CaptureFixture, key: str) -> None:
    for value in WRONG_TYPES[key]:
        line = refused(capsys, **{key: value})
        assert line.startswith(f"error: {key}")
        assert str(value) in line


def test_a_mistake_does_not_stand_in_the_way_afterwards(shop: Path, capsys: pytest.CaptureFixture) -> None:
    """The same command says the same, and with the mistake mended it runs."""
    wrong = {"env_field": "season"}
    assert refused(capsys, **wrong) == refused(capsys, **wrong)
    lines = (shop / "shop.train.inter").read_text().replace("environment:token", "season:token")
    (shop / "shop.train.inter").write_text(lines)
    for part in ("valid", "test", "test_ood"):
        path = shop / f"shop.{part}.inter"
        path.write_text(path.read_text().replace("environment:token", "season:token"))
    assert cli.main(["-d", "shop", *flags(**{**KEYS, "epochs": 5, **wrong})]) == 0


# mistakes in the raw tables


def spoil_feature(raw: Path) -> None:
    values = np.load(raw / "v_feat.npy")
    values[5, 0] = np.inf
    np.save(raw / "v_feat.npy", values)


def spoil_row(raw: Path) -> None:
    lines = (raw / "train.csv").read_text().splitlines()
    lines[4] = "3,banana,s,a"
    (raw / "train.csv").write_text("\n".join(lines) + "\n")


def add_item(raw: Path) -> None:
    with open(raw / "test.csv", "a") as file:
        file.write("0,26,s,a\n")


def repeat_pair(raw: Path) -> None:
    lines = (raw / "train.csv").read_text().splitlines()
    (raw / "test.csv").write_text((raw / "test.csv").read_text() + lines[1] + "\n")


def empty_table(raw: Path) -> None:
    (raw / "valid.csv").write_text("")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_feature, ["v_feat.npy", "row 5", "infinity"]),
        (spoil_row, ["train.csv", "line 5", "banana"]),
        (add_item, ["test.csv", "item 26", "0 to 25"]),
        (repeat_pair, ["test.csv", "train.csv", "splits must not share pairs"]),
        (empty_table, ["valid.csv", "empty"]),
    ],
)
def test_a_spoiled_table_is_named_and_nothing_is_written(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture, spoil: Callable[[Path], None], words: list[str]
) -> None:
    raw = Path(shutil.copytree(home.folder / "raw", tmp_path / "raw"))
    spoil(raw)
    line = mistake(capsys, "convert", "csv", str(raw), "--name=shop", f"--data_path={tmp_path / 'dataset'}")
    assert [word for word in words if word not in line] == []
    assert not list((tmp_path / "dataset").glob("*"))

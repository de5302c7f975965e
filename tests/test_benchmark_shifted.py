"""The benchmark of tuned models under a shift takes what a comparison chose, and tests it against the first model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_rel

from benchmarks.shifted import chosen_keys, table
from recbole_painvrl.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SHORT = {"epochs": "2", "eval_step": "2", "train_batch_size": "256"}


def write_comparison(folder: Path, tuned: list[dict[str, Any]], config_files: list[str] | None = None) -> Path:
    """A comparison's record of which only the keys and what tuning found matter here."""
    folder.mkdir(parents=True)
    command = {"models": ["ERM", "MF"], "config_files": config_files or [], "keys": SHORT, "tune": 2}
    content = {"command": command, "tuned": tuned, "cells": []}
    (folder / "comparison.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def found(model: str, dataset: str = "planted-small", score: float = 0.5, **parameters: Any) -> dict[str, Any]:
    return {"model": model, "dataset": dataset, "score": score, "parameters": parameters}


@pytest.mark.parametrize(
    ("tuned", "config_files"),
    [([], None), ([found("MF"), found("MF", "tiktok")], None), ([found("MF")], ["mine.yaml"])],
    ids=["untuned", "two sets", "files"],
)
def test_other_comparisons_are_refused(tmp_path: Path, tuned: list[Any], config_files: list[str] | None) -> None:
    with pytest.raises(UserError, match="expected a comparison with --tune of one data set"):
        chosen_keys([write_comparison(tmp_path / "one", tuned, config_files)])


def test_of_several_comparisons_validation_chooses_each_models_keys(tmp_path: Path) -> None:
    first = [found("ERM", learning_rate=0.1), found("MF", learning_rate=0.2)]
    failed = {"model": "VBPR", "dataset": "planted-small", "score": None, "parameters": {}, "error": "no trial is done"}
    second = [found("MF", score=0.6, learning_rate=0.3), found("ERM", score=0.4, learning_rate=0.4), failed]
    folders = [write_comparison(tmp_path / name, tuned) for name, tuned in (("one", first), ("two", second))]
    for order in (folders, folders[::-1]):
        keys = chosen_keys(order)
        assert {model: one["learning_rate"] for model, one in keys.items()} == {"ERM": 0.1, "MF": 0.3}
    assert list(chosen_keys(folders)) == ["ERM", "MF"]
    other = write_comparison(tmp_path / "three", [found("MF", "tiktok")])
    with pytest.raises(UserError, match="expected comparisons of one data set"):
        chosen_keys([folders[0], other])


def made(folder: Path, dataset: str, values: np.ndarray) -> dict[str, Any]:
    """A run's result and its users' values on both test sets."""
    folder.mkdir(parents=True)
    users = np.array([f"u{place}" for place in range(len(values))])
    arrays = {
        f"{name}/{part}": one for name in ("test", "test_ood") for part, one in (("users", users), ("m@2", values))
    }
    np.savez(folder / "per_user.npz", **arrays)
    results = {name: {"m@2": float(values.mean())} for name in ("test", "test_ood")}
    return {"dataset": dataset, "folder": str(folder), "test_results": results, "seconds_train": 2.0}


def test_each_model_is_tested_against_the_first_and_the_best_stands_first(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    values = {"A": random.random(30), "B": random.random(30) + 0.3, "C": random.random(30) - 0.3}
    runs = {name: [made(tmp_path / name, "d", of_users)] for name, of_users in values.items()}
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(runs, "M@2").splitlines()]
    assert [line[0] for line in lines[2:]] == ["B", "A", "C"]
    raw = [ttest_rel(values["A"], values[name]).pvalue for name in ("B", "C")]
    smallest, largest = sorted(raw)
    holm = {smallest: 4 * smallest, largest: max(4 * smallest, 2 * largest)}  # four tests, each p twice
    for name, p in zip(("B", "C"), raw, strict=True):
        line = next(line for line in lines if line[0] == name)
        assert line[2] == f"{values['A'].mean() - values[name].mean():+.4f}"
        assert float(line[3]) == pytest.approx(holm[p], rel=0.05)
    assert lines[3][2:4] == ["", ""]


def test_the_command_trains_what_tuning_chose_on_each_split(tmp_path: Path) -> None:
    tuned = [found("ERM", learning_rate=0.02), found("MF", learning_rate=0.03)]
    comparison = write_comparison(tmp_path / "runs" / "comparisons" / "one", tuned)
    output = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks.shifted", str(comparison), "--split", "popularity", "--split"]
    command += ["{kind: cold_items, candidates: new}", "--seeds", "1", "--jobs", "1", "--output", str(output)]
    command += ["--set", f"output_dir={tmp_path / 'runs'}", "--set", "benchmark_filename=[train,valid,test]"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = output.read_text(encoding="utf-8")
    assert text.index("## popularity") < text.index("## {kind: cold_items, candidates: new}")
    assert text.count("| ERM |") == text.count("| MF |") == 2
    runs = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in tmp_path.rglob("config.yaml")]
    cold = {"kind": "cold_items", "candidates": "new"}
    for model, rate in (("ERM", 0.02), ("MF", 0.03)):
        of_model = [run for run in runs if run["model"] == model]
        assert [run["learning_rate"] for run in of_model] == [rate, rate]
        assert all(run["ood_split"] in ("popularity", cold) for run in of_model)
        assert of_model[0]["ood_split"] != of_model[1]["ood_split"]

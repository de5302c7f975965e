"""Run folders written by hand in the format of the records, with numbers that a test can work out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from recbole_painvrl.report.records import RunFolder

METRIC = "ndcg@10"
MODALITIES = {"visual": [0.9, 0.8, 0.1, 0.2], "text": [1.0, 0.0]}
TRUTH = """modality,dimension,truth
visual,0,invariant
visual,1,invariant
visual,2,spurious
visual,3,noise
text,0,invariant
text,1,spurious
"""


def of(value: float) -> dict[str, float]:
    """A result in which NDCG is ``value`` and recall twice that."""
    return {METRIC: round(value, 6), "recall@10": round(2 * value, 6)}


def make_run(
    root: Path,
    model: str = "PaInvRL",
    seed: int = 1,
    dataset: str = "made",
    rounds: int = 2,
    valid: float = 0.3,
    config: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
    finished: bool = True,
) -> Path:
    """Writes a run with every record there can be; ``rounds`` 0 is a model without rounds.

    IID is 0.4 and OOD 0.2, plus a hundredth of the seed. At rho 0, 0.5 and 1 IID is 0.3, 0.35 and 0.4, OOD 0.3, 0.25
    and 0.2, validation ``valid`` less 0.1, 0 and 0.05.
    """
    name = "-".join([str(seed), *map(str, (config or {}).values())])
    run = RunFolder(root / dataset / model / name)
    run.path.mkdir(parents=True)
    settings = {"model": model, "dataset": dataset, "seed": seed, "data_path": str(root / "data"), **(config or {})}
    run.write_text("config.yaml", yaml.safe_dump(settings))
    run.record("start", model=model, dataset=dataset, seed=seed)
    _record_training(run, rounds, valid)
    plus = seed / 100
    tests = {"test": of(0.4 + plus), "test_ood": of(0.2 + plus)}
    tests |= {f"test_shift_{step}": of(0.4 - step / 10 + plus) for step in range(3)}
    content = {
        "model": model,
        "dataset": dataset,
        "seed": seed,
        "valid_metric": METRIC,
        "best_valid_score": valid - 0.05,
        "valid_score_bigger": True,
        "best_valid_result": of(valid - 0.05),
        "test_results": tests,
        "groups": {"test": {"activity": _groups(low=0.1, high=0.5), "gender": _groups(f=0.45, m=0.35)}},
    }
    if rounds:
        content |= {"variant_weight": 1.0, "trade_off": [_row(rho, valid, plus) for rho in (0.0, 0.5, 1.0)]}
        rows = [f"{name},{place},{value}" for name, column in MODALITIES.items() for place, value in enumerate(column)]
        run.write_text("mask.csv", "\n".join(["modality,dimension,mask", *rows]) + "\n")
    run.write_json("result.json", {**content, **(result or {})})
    if finished:
        run.finish()
    return run.path


def make_users(path: Path, values: Sequence[float], users: Sequence[str] | None = None, test_set: str = "test") -> Path:
    """Adds to a run what it recorded of each user of a test set; returns the run's folder."""
    names = np.array(users or [f"u{place}" for place in range(len(values))])
    file, metric = path / "per_user.npz", np.asarray(values, dtype=np.float64)
    arrays = dict(np.load(file, allow_pickle=False)) if file.exists() else {}
    arrays |= {f"{test_set}/users": names, f"{test_set}/{METRIC}": metric, f"{test_set}/recall@10": 2 * metric}
    RunFolder(path).write_arrays(file.name, arrays)
    return path


def make_comparison(folder: Path, cells: Sequence[Mapping[str, Any]]) -> Path:
    """Writes the file of a comparison into ``folder``; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(json.dumps({"cells": list(cells)}))
    return folder


def make_truth(root: Path, dataset: str = "made") -> None:
    """Writes ``truth.csv`` and ``gammas.csv`` beside the data that the runs name."""
    folder = root / "data" / dataset
    folder.mkdir(parents=True)
    (folder / "truth.csv").write_text(TRUTH)
    gammas = "".join(f"test_shift_{step},{step + 3},{1.5 - 1.5 * step}\n" for step in range(3))
    (folder / "gammas.csv").write_text(f"set,environment,gamma\ntrain,0,3.0\n{gammas}")


def _row(rho: float, valid: float, plus: float) -> dict[str, Any]:
    lost = {0.0: 0.1, 0.5: 0.0, 1.0: 0.05}[rho]
    shifts = {f"test_shift_{step}": of(0.4 - step / 10 * (2 - rho) + plus) for step in range(3)}
    sides = {"test": of(0.3 + rho / 10 + plus), "test_ood": of(0.3 - rho / 10 + plus)}
    return {"rho": rho, "valid": of(valid - lost), **sides, **shifts}


def _groups(**values: float) -> dict[str, Any]:
    groups = {name: {"users": 10, "pairs": 20, **of(value)} for name, value in values.items()}
    worst, best = min(values.values()), max(values.values())
    return {"groups": groups, "worst": of(worst), "spread": of(best - worst)}


def _record_training(run: RunFolder, rounds: int, valid: float) -> None:
    _record_epochs(run, range(2), valid - 0.2, named=False)
    for number in range(rounds):
        _record_round(run, number)
    _record_epochs(run, range(2, 6), valid - 0.08, named=bool(rounds))


def _record_epochs(run: RunFolder, epochs: range, score: float, named: bool) -> None:
    for epoch in epochs:
        losses = {"invariant": 1.0, "full": 2.0 - epoch / 10} if named else {}
        run.record("train", epoch=epoch, loss=3.0 - epoch / 10, losses=losses, seconds=0.1)
        run.record("valid", epoch=epoch, score=score + epoch / 100, result=of(score + epoch / 100), seconds=0.1)


def _record_round(run: RunFolder, number: int) -> None:
    history = [{"iteration": step, "moved": 0.5 / step, "sizes": [60, 30 + step, 10 - step]} for step in (1, 2)]
    known = {"field": "environment", "names": ["a", "b"], "ari": 0.5, "nmi": 0.4, "table": [[50, 10], [2, 30], [0, 8]]}
    run.record("identification", round=number, sizes=[60, 32, 8], moved=0.25, history=history, known=known)
    steps = [
        {
            "step": step,
            "erm": 5 - step / 10,
            "irm": 1e-5 / step,
            "weight": 0.5,
            "stationarity": 1 / step,
            "cosine": -0.5,
        }
        for step in (1, 2, 3)
    ]
    means = {name: sum(values) / len(values) for name, values in MODALITIES.items()}
    values = {name: [round(value * (number + 1) / 2, 6) for value in column] for name, column in MODALITIES.items()}
    run.record("mask", round=number, **steps[-1], mean=0.5, modalities=means, values=values, history=steps)

"""Every way of identifying environments on data whose truth is known: agreement with it, and the mask it leads to.

    python -m benchmarks.identification --recipes r1,users --seeds 1,2,3,4,5 --output results/identification.md

The recommender is trained once a data set with the shipped defaults; every row then runs two rounds of identification
and mask generation on it. Given the number of environments, nothing else is told to the rows without "given".
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from benchmarks.command_line import write
from benchmarks.many_runs import markdown
from recbole_painvrl.quick_start import load_data_and_model, run_recbole_painvrl
from recbole_painvrl.simulate.command import simulate
from recbole_painvrl.trainer.rounds import Rounds, interactions

ROUNDS = 2
GIVEN = {"env_field": "environment"}
ROWS: dict[str, dict[str, Any]] = {
    "given": GIVEN,
    "given, permuted": GIVEN,
    "interaction, clustering": {"env_level": "interaction", "env_method": "clustering"},
    "interaction, spectral": {"env_level": "interaction"},
    "session, clustering": {"env_level": "session", "env_method": "clustering"},
    "session, spectral": {"env_level": "session"},
    "time, spectral": {"env_level": "time"},
    "user, clustering": {"env_level": "user", "env_method": "clustering"},
    "user, spectral": {"env_level": "user"},
}
HEADER = ["identification", "ARI", "least", "mask invariant", "spurious", "noise", "AUC", "least", "signal", "seconds"]


@dataclass
class Trained:
    """A trained recommender with its data and their truth; truth [D] is 1 invariant, 0 spurious, -1 noise."""

    config: Any
    model: Any
    dataset: Any
    truth: np.ndarray
    environments: torch.Tensor


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="r1,users", help="comma-separated")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated")
    parser.add_argument("--environments", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def trained(recipe: str, seed: int, folder: Path, n_environments: int) -> Trained:
    """Simulates a data set and trains the recommender on all environments together."""
    name = f"{recipe}-{seed}"
    data = simulate(recipe, name, seed, folder / "dataset")
    keys = {"data_path": str(folder / "dataset"), "output_dir": str(folder / name), "seed": seed, "state": "ERROR"}
    keys |= {"n_rounds": 0, "epochs": 20, "eval_step": 20, "show_progress": False, "n_environments": n_environments}
    run_recbole_painvrl("PaInvRL", name, config_dict=keys)
    (run,) = (folder / name / name / "PaInvRL").iterdir()
    config, model, _, train, *_ = load_data_and_model(run)
    kinds = np.concatenate([data.truth[block.name] for block in model.content.blocks])
    return Trained(config, model, train.dataset, kinds, train.dataset.inter_feat["environment"])


def measure(case: Trained, label: str, keys: Mapping[str, Any]) -> dict[str, float]:
    """Runs the rounds of one row and returns its figures."""
    kept = {key: case.config[key] for key in keys}
    for key, value in keys.items():
        case.config[key] = value
    case.model.mask.fill_(1.0)
    rounds, seconds = Rounds(case.config, case.model), 0.0
    for number in range(ROUNDS):
        began = time.perf_counter()
        seen = rounds.identify(number, case.dataset, show_progress=False)
        seconds += time.perf_counter() - began
        if label.endswith("permuted"):
            order = torch.randperm(len(case.environments), generator=torch.Generator().manual_seed(number))
            case.model.environment.copy_(case.model.environment[order])
        rounds.generate_mask(number, case.dataset, show_progress=False)
    for key, value in kept.items():
        case.config[key] = value
    return figures(case, seen, seconds / ROUNDS)


def figures(case: Trained, seen: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Returns the agreement and the mask's figures; ``signal`` is the excess as a multiple of chance."""
    mask = case.model.mask.numpy()
    known = case.truth >= 0
    excess = seen["heterogeneity"]
    return {
        "ari": adjusted_rand_score(case.environments, case.model.environment),
        **{name: float(mask[case.truth == kind].mean()) for name, kind in (("in", 1), ("sp", 0), ("no", -1))},
        "auc": roc_auc_score(case.truth[known], mask[known]),
        "signal": excess["excess"] / excess["chance"] if excess else float("nan"),
        "seconds": seconds,
    }


def taste_length(case: Trained) -> float:
    """ARI of users sliced by how long their learned taste for the spurious columns is, columns and E known."""
    frozen = case.model.frozen().folded()
    taste = (frozen.user_feature @ case.model.projection.weight)[:, torch.from_numpy(case.truth == 0)]
    length = taste.detach().norm(dim=1)[interactions(case.dataset, case.model.device).users]
    number = case.config["n_environments"]
    cuts = torch.quantile(length, torch.arange(1, number) / number)
    return float(adjusted_rand_score(case.environments, torch.bucketize(length, cuts)))


def line(label: str, found: list[dict[str, float]]) -> list[str]:
    """Returns a row's line of the table: means over the seeds, and the least where a claim is about every seed."""

    def column(name: str) -> list[float]:
        return [row[name] for row in found]

    signal = f"{mean(column('signal')):.2f}" if not np.isnan(column("signal")).any() else ""
    masks = [f"{mean(column(name)):.2f}" for name in ("in", "sp", "no")]
    auc = [f"{mean(column('auc')):.3f}", f"{min(column('auc')):.3f}"]
    ari = [f"{mean(column('ari')):.3f}", f"{min(column('ari')):.3f}"]
    return [label, *ari, *masks, *auc, signal, f"{mean(column('seconds')):.1f}"]


def section(recipe: str, seeds: list[int], n_environments: int) -> str:
    """Returns the table of one recipe."""
    with tempfile.TemporaryDirectory() as folder:
        cases = [trained(recipe, seed, Path(folder), n_environments) for seed in seeds]
    rows = []
    for label, keys in ROWS.items():
        rows.append(line(label, [measure(case, label, keys) for case in cases]))
        print(recipe, *rows[-1], sep=" | ", flush=True)
    length = mean(taste_length(case) for case in cases)
    return (
        f"## {recipe}, seeds {','.join(map(str, seeds))}\n\n{markdown(HEADER, rows)}\n"
        f"Users sliced by the length of their learned taste for the (known) spurious columns: ARI {length:.3f}.\n"
    )


def main() -> None:
    """Runs all recipes and writes the tables."""
    given = arguments()
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    text = (
        f"# Identification\n\nTwo rounds, {given.environments} environments, means over the seeds; least: the worst of "
        "them. ARI: agreement with the true environments, 0 is chance. AUC: that an invariant column has a larger mask "
        "than a spurious one; permuted labels show what it is without environments. signal: excess variance "
        "as a multiple of chance. seconds: one identification with its controls, one thread.\n\n"
    )
    tables = [section(recipe, seeds, given.environments) for recipe in given.recipes.split(",")]
    write(given.output, text + "\n".join(tables))


if __name__ == "__main__":
    main()

"""In and out of distribution on simulated data: PaInvRL at several rho from one training each, beside ERM.

    python -m benchmarks.ood --recipes r1,r2,rb --labels environment --output results/ood.md

Everything but the number of environments and where they come from is the shipped default. ``--labels environment``
gives the true labels, ``--labels session`` only the column of sessions, ``--labels interaction`` nothing.
"chosen" is the rho that validation chooses (``variant_weight: validation``), "ids only" ERM without features. "light
ERM" has the weak regularization that features overfit under; validation prefers the shipped one by far. Ratios are
of means over the seeds. "true tastes" is the ratio that a ranking by the tastes that made the data has out of
distribution where it gives up as much in distribution (``benchmarks.known_tastes``): what a perfect estimate would buy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import yaml

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.known_tastes import curve
from benchmarks.many_runs import markdown, run_all
from benchmarks.simulated import data_set, mask_cells
from recbole_painvrl.report.significance import spread
from recbole_painvrl.trainer.trade_off import least_within

METRIC = "ndcg@10"
LABELS = {"environment": {"env_field": "environment"}, "session": {"env_level": "session"}, "interaction": {}}
LIGHT = {"reg_weight": 0.2, "projection_reg_weight": 0.0003}
RATIOS = ["x ERM", "x light ERM"]
MASK = ["rho", "invariant", "spurious", "AUC (least)"]
HEADER = ["model", "IID NDCG@10", *RATIOS, "OOD NDCG@10", *RATIOS, "true tastes", *MASK]
Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="r1,r2,rb", help="comma-separated")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated; of the data and of training")
    parser.add_argument("--labels", default="environment", choices=LABELS)
    add_keys(parser)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def at(rho: float) -> Callable[[dict[str, Any]], Row]:
    """Returns what finds the trade-off's row of ``rho`` in a result."""
    return lambda run: next(row for row in run["trade_off"] if row["rho"] == rho)


def chosen(run: dict[str, Any]) -> Row:
    """Returns the trade-off's row that validation chooses."""
    tolerance = yaml.safe_load((Path(run["folder"]) / "config.yaml").read_text())["variant_tolerance"]
    scores = {row["rho"]: row["valid"][METRIC] for row in run["trade_off"]}
    return at(least_within(scores, tolerance, True, run["plain_valid_score"]))(run)


def tested(run: dict[str, Any]) -> Row:
    """Returns a model's test results in the form of a trade-off's row."""
    return run["test_results"]


def ceiling(recipe: str, seeds: list[int]) -> Callable[[float], str]:
    """Returns what tells the true tastes' OOD ratio at a share of their best IID result; nothing where they have none.

    Between two points of the curve it is interpolated in the logarithm of the ratio.
    """
    found = np.mean([curve(recipe, seed) for seed in seeds], axis=0)
    best = int(found[:, 0].argmax())
    share, ratio = (found / found[best])[: best + 1].T  # in the order of growing trust, which is that of the IID result

    def at_share(value: float) -> str:
        return f"{np.exp(np.interp(value, share, np.log(ratio))):.2f}" if value >= share[0] else ""

    return at_share


def line(
    label: str, rows: list[Row], bases: list[list[Row]], tastes: Callable[[float], str], mask: list[str]
) -> list[str]:
    """Returns one line of the table; ``bases`` are the rows of the two ERM, the shipped one first."""
    cells, shares = [], []
    for name in ("test", "test_ood"):
        values = [row[name][METRIC] for row in rows]
        ratios = [mean(values) / mean(row[name][METRIC] for row in base) for base in bases]
        cells += [spread(values), *(f"{ratio:.2f}" for ratio in ratios)]
        shares.append(ratios[0])
    rho = spread([row["rho"] for row in rows], 2) if "rho" in rows[0] else ""
    return [label, *cells, tastes(shares[0]), rho, *mask]


def table(runs: dict[str, list[dict[str, Any]]], tastes: Callable[[float], str]) -> str:
    """Returns the table of one recipe from every model's runs."""
    ours = runs.pop("PaInvRL")
    rows = {label: [tested(run) for run in found] for label, found in runs.items()}
    bases = [rows["ERM"], rows["light ERM"]]
    lines = [line(label, found, bases, tastes, [""] * 3) for label, found in rows.items()]
    for label, pick in (("PaInvRL, rho = 1", at(1.0)), ("PaInvRL, rho chosen", chosen), ("PaInvRL, rho = 0", at(0.0))):
        lines.append(line(label, [pick(run) for run in ours], bases, tastes, mask_cells(ours)))
    return markdown(HEADER, lines)


def main() -> None:
    """Runs everything and writes the tables."""
    given = arguments()
    recipes, seeds = given.recipes.split(","), [int(seed) for seed in given.seeds.split(",")]
    base = {"valid_metric": "NDCG@10", "show_progress": False, **given_keys(given)}
    models: dict[str, dict[str, Any]] = {
        "ERM": {"model": "ERM"},
        "light ERM": {"model": "ERM", **LIGHT},
        "ids only": {"model": "ERM", "modalities": {}},
        "PaInvRL": {"model": "PaInvRL", "n_environments": 3, **LABELS[given.labels]},
    }
    settings = [
        {**base, **keys, "dataset": data_set(recipe, seed), "seed": seed}
        for recipe in recipes
        for keys in models.values()
        for seed in seeds
    ]
    results = iter(run_all(settings, given.jobs))
    keys = "".join(f", --set {pair}" for pair in given.set)
    text = [f"# In and out of distribution\n\n--labels {given.labels}{keys}; seeds {given.seeds}: mean ± deviation.\n"]
    for recipe in recipes:
        runs = {label: [next(results) for _ in seeds] for label in models}
        text.append(f"\n## {recipe}\n\n{table(runs, ceiling(recipe, seeds))}")
    write(given.output, "".join(text))
    print(given.output.read_text())


if __name__ == "__main__":
    main()

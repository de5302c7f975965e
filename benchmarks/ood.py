"""In and out of distribution on simulated data: PaInvRL at several rho from one training each, beside ERM.

    python -m benchmarks.ood --recipes r1,r2,rb --labels environment --output results/ood.md

Everything but the number of environments and where they come from is the shipped default. ``--labels environment``
gives the true labels, ``--labels session`` only the column of sessions, ``--labels interaction`` nothing.
"chosen" is the rho that validation chooses
(``variant_weight: validation``), "ids only" ERM without features. Ratios are of means over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from benchmarks.many_runs import markdown, run_all
from benchmarks.simulated import data_set, mask_cells
from recbole_painvrl.report.significance import spread
from recbole_painvrl.trainer.trade_off import least_within

METRIC = "ndcg@10"
LABELS = {"environment": {"env_field": "environment"}, "session": {"env_level": "session"}, "interaction": {}}
HEADER = ["model", "IID NDCG@10", "x ERM", "OOD NDCG@10", "x ERM", "rho", "invariant", "spurious", "AUC (least)"]
Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="r1,r2,rb", help="comma-separated")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated; of the data and of training")
    parser.add_argument("--labels", default="environment", choices=LABELS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key for all runs")
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


def erm_row(run: dict[str, Any]) -> Row:
    """Returns a model's test results in the form of a trade-off's row."""
    return run["test_results"]


def line(label: str, rows: list[Row], erm: list[Row], cells: list[str]) -> list[str]:
    """Returns one line of the table."""
    found = []
    for name in ("test", "test_ood"):
        values = [row[name][METRIC] for row in rows]
        base = mean(row[name][METRIC] for row in erm)
        found += [spread(values), f"{mean(values) / base:.2f}"]
    rho = spread([row["rho"] for row in rows], 2) if "rho" in rows[0] else ""
    return [label, *found, rho, *cells]


def table(erm: list[dict[str, Any]], ids: list[dict[str, Any]], ours: list[dict[str, Any]]) -> str:
    """Returns the table of one recipe."""
    base = [erm_row(run) for run in erm]
    lines = [line("ERM", base, base, [""] * 3), line("ids only", [erm_row(run) for run in ids], base, [""] * 3)]
    for label, pick in (("PaInvRL, rho = 1", at(1.0)), ("PaInvRL, rho chosen", chosen), ("PaInvRL, rho = 0", at(0.0))):
        lines.append(line(label, [pick(run) for run in ours], base, mask_cells(ours)))
    return markdown(HEADER, lines)


def main() -> None:
    """Runs everything and writes the tables."""
    given = arguments()
    recipes, seeds = given.recipes.split(","), [int(seed) for seed in given.seeds.split(",")]
    base = {"valid_metric": "NDCG@10", "show_progress": False, **dict(pair.split("=", 1) for pair in given.set)}
    ours = {"model": "PaInvRL", "n_environments": 3, **LABELS[given.labels]}
    models: list[dict[str, Any]] = [{"model": "ERM"}, {"model": "ERM", "modalities": {}}, ours]
    settings = [
        {**base, **keys, "dataset": data_set(recipe, seed), "seed": seed}
        for recipe in recipes
        for keys in models
        for seed in seeds
    ]
    results = iter(run_all(settings, given.jobs))
    keys = "".join(f", --set {pair}" for pair in given.set)
    text = [f"# In and out of distribution\n\n--labels {given.labels}{keys}; seeds {given.seeds}: mean ± deviation.\n"]
    for recipe in recipes:
        runs = [[next(results) for _ in seeds] for _ in models]
        text.append(f"\n## {recipe}\n\n{table(*runs)}")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text("".join(text))
    print(given.output.read_text())


if __name__ == "__main__":
    main()

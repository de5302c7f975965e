"""What each part of the method is worth, with honest controls: one table a data set.

    python -m benchmarks.ablations --dataset r1 --set n_environments=3 --set env_level=session \
        --output results/ablations-r1.md
    python -m benchmarks.ablations --dataset tiktok --rows full,labels,mask,erm --split none --split cold_items \
        --split "{kind: group, field: gender, values: [F]}" --output FILE

A recipe's name means the simulated set of that recipe and the run's seed. Each ``--split`` (``ood_split``; none: the
data set's own sets) has a table of its own, of recommenders trained on it. ``--set`` holds for every row. Each row is
judged at its own rho and, where it has one, at rho = 0. p: paired t-test over users, each value averaged over seeds,
against the full method, two-sided, not corrected for the number of rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run_cells
from benchmarks.simulated import data_set, mask_cells
from recbole_painvrl.errors import one_of
from recbole_painvrl.report.significance import Runs, p_value, spread

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("PaInvRL", {}),
    "erm": ("without the mask and the environments (ERM)", {"model": "ERM"}),
    "labels": ("without identification (environments permuted)", {"control": "labels"}),
    "mask": ("control: mask permuted", {"control": "mask"}),
    "given": ("given environments", {"env_field": "environment"}),
    "pareto": ("without Pareto weights (fixed)", {"pareto_solver": "fixed"}),
    "irm": ("without IRM", {"pareto_bounds": [0, 1]}),
    "erm_loss": ("without ERM in the mask", {"pareto_bounds": [1, 0]}),
    "variant": ("without the variant branch", {"convert": "mask"}),
    "irmv1": ("IRMv1 penalty", {"irm_penalty": "irmv1"}),
    "vrex": ("V-REx penalty", {"irm_penalty": "vrex"}),
    "loss": ("normalized by loss", {"pareto_normalize": "loss"}),
    "loss+": ("normalized by loss and length", {"pareto_normalize": "loss+"}),
    "none": ("not normalized", {"pareto_normalize": "none"}),
}
NEIGHBORS = {"new_items": "neighbors", "new_item_length": 1.0}
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "groups": ("gates of 16 groups of columns a modality", {"mask_groups": 16}),
    "modality": ("one gate a modality", {"mask_groups": "modality"}),
    "dropout": ("with id dropout", {"id_dropout": 0.1}),
    "erm_dropout": ("ERM with id dropout", {"model": "ERM", "id_dropout": 0.1}),
    "content": ("new items by their content", {"new_items": "content"}),
    "erm_content": ("ERM, new items by their content", {"model": "ERM", "new_items": "content"}),
    "neighbors": ("new items by their neighbors, as long as known ones", NEIGHBORS),
    "erm_neighbors": ("ERM, new items by their neighbors, as long as known ones", {"model": "ERM", **NEIGHBORS}),
    "whiten": ("whitened features", {"feature_rotation": "whiten"}),
    "erm_whiten": ("ERM, whitened features", {"model": "ERM", "feature_rotation": "whiten"}),
}
KNOWN = ROWS | FURTHER


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="r1", help="a recipe or a data set")
    parser.add_argument("--split", action="append", help="none, or an ood_split as in YAML; may come several times")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"comma-separated; further ones: {', '.join(FURTHER)}")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated")
    add_keys(parser)
    parser.add_argument("--metric", default="NDCG@10")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def invariant(run: dict[str, Any], test_set: str, metric: str) -> float:
    """Returns the result at rho = 0, where the model has one."""
    rows = [row for row in run.get("trade_off", ()) if row["rho"] == 0]
    return (rows[0] if rows else run["test_results"])[test_set][metric]


def line(label: str, runs: Runs, full: Runs, metric: str, sets: list[str]) -> list[str]:
    """Returns one row of the table."""
    cells = [label]
    for name in sets:
        cells += [spread([run["test_results"][name][metric] for run in runs]), p_value(full, runs, name, metric)]
    cells += [spread([invariant(run, name, metric) for run in runs]) for name in sets]
    return [*cells, *mask_cells(runs), f"{mean(run['seconds_train'] for run in runs):.0f}"]


def header(metric: str, sets: list[str]) -> list[str]:
    """Returns the table's header."""
    columns = [column for name in sets for column in (f"{name} {metric}", "p")]
    at_zero = [f"{name} at rho = 0" for name in sets]
    return ["", *columns, *at_zero, "invariant", "spurious", "AUC (least)", "seconds"]


def of_split(split: str) -> dict[str, Any]:
    """Returns the key that makes a split, none for the data set's own sets."""
    return {} if split == "none" else {"ood_split": yaml.safe_load(split)}


def section(title: str, runs: dict[str, Runs], metric: str) -> str:
    """Returns the table of one split, under its title where there are several."""
    sets = [name for name in runs["full"][0]["test_results"] if ":" not in name]
    rows = [line(KNOWN[row][0], of_row, runs["full"], metric.lower(), sets) for row, of_row in runs.items()]
    return title + markdown(header(metric, sets), rows)


def main() -> None:
    """Runs all rows of all splits and writes their tables."""
    given = arguments()
    splits = given.split or ["none"]
    chosen = ["full", *(one_of("--rows", row, tuple(KNOWN)) for row in given.rows.split(",") if row != "full")]
    seeds = [int(seed) for seed in given.seeds.split(",")]
    base: dict[str, Any] = {"valid_metric": given.metric, "show_progress": False}
    base |= {"model": "PaInvRL", **given_keys(given)}
    settings = [
        {**base, **of_split(split), **KNOWN[row][1], "dataset": data_set(given.dataset, seed), "seed": seed}
        for split in splits
        for row in chosen
        for seed in seeds
    ]
    cells = run_cells(settings, len(seeds), given.jobs)
    keys = "".join(f"--set {key}, " for key in given.set)
    text = f"# Ablations on {given.dataset}\n\n{keys}seeds {given.seeds}: mean ± standard deviation. p: against the "
    text += "full method, over users, two-sided. seconds: training, one thread.\n"
    for split in splits:
        title = f"\n## {split}\n\n" if given.split else "\n"
        text += section(title, {row: next(cells) for row in chosen}, given.metric)
    write(given.output, text)
    print(given.output.read_text())


if __name__ == "__main__":
    main()

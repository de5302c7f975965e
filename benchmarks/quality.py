"""PaInvRL beside the same recommender without its modules, without features, and UltraGCN: the table of a data set.

    python -m benchmarks.quality --dataset tiktok --seeds 1,2,3 --output results/tiktok.md

Every model runs with the defaults that this repository ships for the data set; its epoch is chosen on validation. The
p-value compares PaInvRL with a model by a two-sided paired t-test over users, each user's value averaged over the
seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run_all
from recbole_painvrl.report.significance import p_value, spread

ROWS = {
    "PaInvRL": {"model": "PaInvRL"},
    "ERM (no modules)": {"model": "ERM"},
    "ERM, ids only": {"model": "ERM", "modalities": {}, "embedding_size": 192},
    "UltraGCN, own loss": {"model": "UltraGCN"},
}
METRICS = ("recall@20", "ndcg@20")


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="tiktok")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    add_keys(parser)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def row(label: str, runs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    """Returns a model's line of the table."""
    cells = [label]
    for metric in METRICS:
        cells += [spread([run["test_results"]["test"][metric] for run in runs]), p_value(ours, runs, "test", metric)]
    for group in ("warm", "cold"):
        groups = [run.get("test_groups", {}).get("test", {}).get(group) for run in runs]
        cells.append(f"{mean(found['recall@20'] for found in groups):.4f}" if all(groups) else "")
    seconds = mean(run["seconds_train"] for run in runs)
    return [*cells, f"{seconds:.0f}", str(runs[0]["n_parameters"])]


def main() -> None:
    """Runs all rows and writes the table."""
    given = arguments()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    base: dict[str, Any] = {"dataset": given.dataset, "show_progress": False}
    base |= given_keys(given)
    found = run_all([{**base, **keys, "seed": seed} for keys in ROWS.values() for seed in seeds], given.jobs)
    runs = {label: found[number * len(seeds) : (number + 1) * len(seeds)] for number, label in enumerate(ROWS)}
    ours = runs["PaInvRL"]
    header = ["model", "Recall@20", "p", "NDCG@20", "p", "warm R@20", "cold R@20", "seconds", "parameters"]
    table = markdown(header, [row(label, of_label, ours) for label, of_label in runs.items()])
    text = (
        f"# {given.dataset}\n\nTest set, all items as candidates, training and validation items hidden; "
        f"seeds {given.seeds}: "
        "mean ± standard deviation. The epoch is the best on validation. p: paired t-test over users against PaInvRL, "
        "two-sided. warm, cold: items with and without a training interaction. seconds: training, one thread.\n\n"
    )
    write(given.output, text + table)
    print(given.output.read_text())


if __name__ == "__main__":
    main()

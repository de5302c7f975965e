"""Chooses default hyper-parameters on validation: one key at a time around what is shipped, every run recorded.

    python -m benchmarks.search --model ERM --dataset tiktok --output results/search-tiktok-ERM.md \
        --set epochs=80 --set eval_step=4  temperature=0.15,0.2,0.3  n_layers=1,2,3

The test set plays no part: the table holds validation scores alone. Finished runs are found again, so that a search
that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run_all


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alternatives", nargs="*", help="KEY=VALUE1;VALUE2... (or commas where values have none)")
    parser.add_argument("--model", default="PaInvRL")
    parser.add_argument("--dataset", default="tiktok")
    add_keys(parser)
    parser.add_argument("--seeds", default="1", help="comma-separated")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def split_values(text: str) -> list[str]:
    """Returns the values of one key: separated by semicolons where there is one or a bracket, else by commas."""
    return text.split(";") if ";" in text or "[" in text else text.split(",")


def candidates(alternatives: list[str]) -> list[dict[str, str]]:
    """Returns the changed keys of each candidate, the shipped defaults first."""
    pairs = [alternative.split("=", 1) for alternative in alternatives]
    return [{}, *({key: value} for key, values in pairs for value in split_values(values))]


def main() -> None:
    """Runs the search and writes its table."""
    given = arguments()
    base: dict[str, Any] = {"model": given.model, "dataset": given.dataset, "show_progress": False}
    base |= given_keys(given)
    changes = candidates(given.alternatives)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    results = run_all([{**base, **change, "seed": seed} for change in changes for seed in seeds], given.jobs)
    rows = []
    for number, change in enumerate(changes):
        runs = results[number * len(seeds) : (number + 1) * len(seeds)]
        label = ", ".join(f"{key}={value}" for key, value in change.items()) or "unchanged"
        scores = [run["best_valid_score"] for run in runs]
        seconds = mean(run["seconds_train"] for run in runs)
        rows.append([label, f"{mean(scores):.4f}", " ".join(f"{score:.4f}" for score in scores), f"{seconds:.0f}"])
    settings = " ".join(given.set)
    text = (
        f"# Search: {given.model} on {given.dataset}\n\nValidation {results[0]['valid_metric']}, seeds {given.seeds}"
        f"{', ' + settings if settings else ''}; one key changed at a time.\n\n"
    )
    write(given.output, text + markdown(["changed", "mean", "by seed", "seconds"], rows))
    print(given.output.read_text())


if __name__ == "__main__":
    main()

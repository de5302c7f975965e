"""Models with the keys that tuning chose in distribution, trained and tested on OOD splits.

    python -m benchmarks.shifted runs/comparisons/HASH --split popularity \
        --split '{kind: cold_clusters, candidates: new}' --output results/shifted-tiktok.md

HASH is a comparison with ``--tune`` of one data set, whose keys and best trials are taken as they are: the shift had no
say in them. Of several comparisons of that data set, such as one a loss, a model has the keys of the best trial in
validation. Each ``--split`` (``ood_split``) has a table of its own. p: paired t-test over users, each value averaged
over seeds, against the first model, two-sided, Holm-corrected over the split's table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run_cells
from recbole_painvrl.comparison.record import read
from recbole_painvrl.errors import UserError, one_of
from recbole_painvrl.report.significance import Runs, holm, paired, paired_values, per_user, spread

SETS = ("test", "test_ood")
Keys = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", type=Path, nargs="+", metavar="HASH", help="finished comparisons with --tune")
    parser.add_argument("--split", action="append", required=True, help="an ood_split as in YAML; several times")
    parser.add_argument("--models", help="comma-separated, the first against each of the others; all of the comparison")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    add_keys(parser)
    parser.add_argument("--metric", default="NDCG@20")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def chosen_keys(comparisons: Sequence[Path]) -> dict[str, Keys]:
    """Returns for each model of the comparisons all keys of its best trial on validation.

    Raises:
        UserError: A comparison is not tuned, has configuration files, or there are several data sets.
    """
    found = [one for comparison in comparisons for one in _chosen_by(comparison)]
    if len({keys["dataset"] for _, keys in found}) > 1:
        raise UserError(f"{', '.join(map(str, comparisons))}: expected comparisons of one data set")
    best = {keys["model"]: keys for _, keys in sorted(found, key=itemgetter(0))}  # of a model the last one stays
    return {keys["model"]: best[keys["model"]] for _, keys in found}  # in the comparisons' order


def _chosen_by(comparison: Path) -> list[tuple[float, Keys]]:
    """Returns validation value and keys of the best trial of each model."""
    record = read(comparison)
    command = record.command
    if not record.tuned or len({one["dataset"] for one in record.tuned}) != 1 or command["config_files"]:
        raise UserError(f"{comparison}: expected a comparison with --tune of one data set, without configuration files")
    return [
        (one["score"], {"dataset": one["dataset"], **command["keys"], **one["parameters"], "model": one["model"]})
        for one in record.tuned
        if one.get("error") is None
    ]


def corrected(ours: Runs, others: Sequence[Runs], metric: str) -> list[list[str]]:
    """Returns for each other model the differences (ours less theirs) and p on each test set, as text.

    Args:
        ours: ``result.json`` of each seed of the first model.
        others: the same of the others.
        metric: name of the metric, such as ``ndcg@20``.
    """
    found = [
        paired(*paired_values(per_user(ours, name, metric), per_user(runs, name, metric)))
        for runs in others
        for name in SETS
    ]
    values = holm([1.0 if one is None or one.p_t is None else one.p_t for one in found])
    cells = [
        ["", ""] if one is None else [f"{one.difference:+.4f}", f"{value:.2g}"]
        for one, value in zip(found, values, strict=True)
    ]
    return [cells[start] + cells[start + 1] for start in range(0, len(cells), len(SETS))]


def table(runs: dict[str, Runs], metric: str) -> str:
    """Returns the table of one split, best out of distribution first."""
    ours, *others = runs.values()
    beside = dict(zip(list(runs)[1:], corrected(ours, others, metric.lower()), strict=True))
    rows = {name: row(name, of_model, beside.get(name, [""] * 4), metric) for name, of_model in runs.items()}
    order = sorted(runs, key=lambda name: -mean(result(run, "test_ood", metric) for run in runs[name]))
    columns = [column for name in SETS for column in (f"{name} {metric}", "less it", "p, Holm")]
    return markdown(["model", *columns, "seconds"], [rows[name] for name in order])


def row(name: str, runs: Runs, beside: Sequence[str], metric: str) -> list[str]:
    """Returns one model's row; ``beside`` are difference and p on both sets."""
    means = [spread([result(run, of_set, metric) for run in runs]) for of_set in SETS]
    seconds = f"{mean(run['seconds_train'] for run in runs):.0f}"
    return [name, means[0], *beside[:2], means[1], *beside[2:], seconds]


def result(run: dict[str, Any], test_set: str, metric: str) -> float:
    """Returns a run's value on a test set."""
    value: float = run["test_results"][test_set][metric.lower()]
    return value


def main() -> None:
    """Runs all models on all splits and writes their tables."""
    given = arguments()
    keys = chosen_keys(given.comparisons)
    names = given.models.split(",") if given.models else list(keys)
    models = [one_of("--models", name, tuple(keys)) for name in names]
    seeds = [int(seed) for seed in given.seeds.split(",")]
    base = {"valid_metric": given.metric, "show_progress": False}
    settings = [
        {**base, **keys[model], **given_keys(given), "seed": seed, "ood_split": yaml.safe_load(split)}
        for split in given.split
        for model in models
        for seed in seeds
    ]
    cells = run_cells(settings, len(seeds), given.jobs)
    text = f"# Under a shift: {keys[models[0]]['dataset']}\n\nseeds {given.seeds}: mean ± standard deviation. Each "
    changed = f", but for {' '.join(given.set)}" if given.set else ""
    text += f"model has the keys that tuning chose for it on the data's own split{changed}. "
    text += f"less it: {models[0]} less the row's model. "
    text += "p: over users, two-sided, Holm-corrected over the table. seconds: training, one thread.\n"
    for split in given.split:
        text += f"\n## {split}\n\n{table({model: next(cells) for model in models}, given.metric)}"
    write(given.output, text)
    print(given.output.read_text())


if __name__ == "__main__":
    main()

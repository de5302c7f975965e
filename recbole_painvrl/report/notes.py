"""What the reader of a report has to know beside its numbers, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import Rule, Selected, best_epoch, kept_validation

WARNINGS = {
    "collapsed": (True, "the identification collapsed: all but one environment had to be re-seeded"),
    "signal": (False, "the environments carry no more signal than chance, so that the mask is no evidence of anything"),
}


def signal_notes(selected: Sequence[Selected]) -> list[str]:
    """Says where the last round's environments were recorded as collapsed or as no better than chance."""
    return [
        f"{one.configuration.name} on {one.configuration.dataset}, seed {' '.join(map(str, seeds))}: {text}"
        for one in selected
        for key, (bad, text) in WARNINGS.items()
        if (seeds := [run.seed for run in one.configuration.runs if _last(run, key) is bad])
    ]


def _last(run: Run, key: str) -> bool | None:
    seen = run.records("identification")
    return seen[-1].get(key) if seen else None


def seed_notes(selected: Sequence[Selected]) -> list[str]:
    """Says where configurations that compete, or models that are compared, were not run with the same seeds."""
    return [*_seeds_of_configurations(selected), *_seeds_of_models(selected)]


def _seeds_of_models(selected: Sequence[Selected]) -> Iterator[str]:
    models: dict[str, dict[tuple[int, ...], list[str]]] = {}
    for one in selected:
        if one.chosen:
            seeds = tuple(run.seed for run in one.configuration.runs)
            models.setdefault(one.configuration.dataset, {}).setdefault(seeds, []).append(one.configuration.model)
    for dataset, found in models.items():
        if len(found) > 1:
            groups = "; ".join(f"{', '.join(names)}: {' '.join(map(str, seeds))}" for seeds, names in found.items())
            yield (
                f"{dataset}: its models were run with different seeds ({groups}); where the split is random each seed "
                "has other test sets"
            )


def _seeds_of_configurations(selected: Sequence[Selected]) -> list[str]:
    seeds: dict[str, set[tuple[int, ...]]] = {}
    for one in selected:
        seeds.setdefault(one.configuration.title, set()).add(tuple(run.seed for run in one.configuration.runs))
    return [
        f"{title}: its configurations were run with different seeds, so that the best may be a lucky one"
        for title, found in seeds.items()
        if len(found) > 1
    ]


def protocol_notes(selected: Sequence[Selected]) -> list[str]:
    """Says which data sets have several leaderboards, as their runs cannot all be compared."""
    found: dict[str, dict[str, None]] = {}
    for one in selected:
        dataset = one.configuration.runs[0].result["dataset"]
        found.setdefault(dataset, {}).setdefault(one.configuration.dataset)
    return [
        f"{dataset}: its runs cannot all be compared, as other interactions, test sets or candidates decided on their "
        f"results; there are {len(titles)} leaderboards, and no test between them: {'; '.join(titles)}"
        for dataset, titles in found.items()
        if len(titles) > 1
    ]


def data_notes(selected: Sequence[Selected]) -> list[str]:
    """Says which data files were not the same in all runs that are compared, such as features of another encoder."""
    found: dict[tuple[str, str], dict[Any, Run]] = {}
    for one in selected:
        for run in one.configuration.runs:
            for file, digest in run.data.items():
                found.setdefault((one.configuration.dataset, file), {}).setdefault(digest, run)
    return [
        f"{dataset}: {file} was not the same in all runs, as in "
        f"{' and '.join(str(run.path) for run in runs.values())}: their results are of other data"
        for (dataset, file), runs in found.items()
        if len(runs) > 1
    ]


def double_notes(selected: Sequence[Selected]) -> list[str]:
    """Names the runs that are left out, as another one is the same run with the same seed."""
    return [
        f"{run.path}: left out, it has the configuration and the seed of {kept.path}"
        + ("" if run.result["test_results"] == kept.result["test_results"] else ", but other test results")
        for one in selected
        for run, kept in one.configuration.doubles
    ]


def epoch_notes(selected: Sequence[Selected], rule: Rule) -> list[str]:
    """Says where the rule would have kept another epoch than the run did: only the kept model was tested."""
    return [
        f"{one.configuration.name} on {one.configuration.dataset}: {rule.label} would have stopped elsewhere "
        f"({others}, counted from 0); the tested model is that of the best validation"
        for one in selected
        if (others := ", ".join(_other_epochs(one.configuration.runs, rule)))
    ]


def _other_epochs(runs: Sequence[Run], rule: Rule) -> Iterator[str]:
    for run in runs:
        best, kept = best_epoch(run, rule), kept_validation(run)
        if best and kept and "epoch" in kept and best["epoch"] != kept["epoch"]:
            yield f"seed {run.seed} epoch {best['epoch']}"

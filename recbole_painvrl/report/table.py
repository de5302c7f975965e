"""The summary of a report: means and deviations over seeds, under the rule that chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from recbole_painvrl.report.selection import Choice, Selected, whole_sets
from recbole_painvrl.report.sheet import Cell

Values = list[float | None]


def further_sets(selected: Sequence[Selected]) -> list[str]:
    """Returns the test sets beside ``test``, in the order of the first run that has them."""
    names = dict.fromkeys(name for one in selected for choice in one.choices for name in whole_sets(choice.row))
    return [name for name in names if name != "test"]


def groupings_of(selected: Sequence[Selected]) -> list[str]:
    """Returns the names of the groupings of ``test`` whose worst group is recorded."""
    groups = [_groups(choice) for one in selected for choice in one.choices]
    return list(dict.fromkeys(name for groupings in groups for name, found in groupings.items() if found["worst"]))


def columns_of(one: Selected, metric: str, sets: Sequence[str], groupings: Sequence[str]) -> dict[str, Values]:
    """Returns a configuration's values of each seed: validation, test sets, gaps, the worst group of each grouping."""
    choices = one.choices
    columns = {part: [_at(choice, part, metric) for choice in choices] for part in ("valid", "test", *sets)}
    columns |= {f"gap {name}": [_gap(choice, name, metric) for choice in choices] for name in sets}
    return columns | {f"worst {name}": _worst(choices, name, metric) for name in groupings}


def _at(choice: Choice, part: str, metric: str) -> float | None:
    return (choice.row.get(part) or {}).get(metric)


def _gap(choice: Choice, name: str, metric: str) -> float | None:
    iid, ood = _at(choice, "test", metric), _at(choice, name, metric)
    return None if iid is None or ood is None else iid - ood


def _worst(choices: Sequence[Choice], grouping: str, metric: str) -> Values:
    """The worst group of each seed; of none if one lacks it, for the mean over some seeds would stand beside all."""
    values = [worst_group(choice, grouping, metric) for choice in choices]
    return [] if None in values else values


def worst_group(choice: Choice, grouping: str, metric: str) -> float | None:
    """Returns the value of a grouping's worst group on ``test``; None unless it was recorded at the chosen rho."""
    return _groups(choice).get(grouping, {}).get("worst", {}).get(metric) if choice.is_own else None


def _groups(choice: Choice) -> Mapping[str, Any]:
    return (choice.run.result.get("groups") or {}).get("test") or {}


def rho_text(choices: Sequence[Choice]) -> str:
    """Returns the chosen rho, all of them if the seeds differ."""
    return " ".join(dict.fromkeys("-" if choice.rho is None else f"{choice.rho:g}" for choice in choices))


def csv_rows(
    selected: Sequence[Selected], metric_of: Callable[[Selected], str], sets: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """Returns header and rows of the summary as a wide table, one row a configuration."""
    rows: list[tuple[Cell, ...]] = []
    header: tuple[str, ...] = ()
    for one in selected:
        columns = columns_of(one, metric_of(one), sets, groupings_of(selected))
        header = tuple(f"{name.replace(' ', '_')}_{what}" for name in columns for what in ("mean", "std"))
        of = one.configuration
        seeds = " ".join(str(run.seed) for run in of.runs)
        first = (of.dataset, of.model, of.differs, int(one.chosen), seeds, rho_text(one.choices), metric_of(one))
        rows.append((*first, one.score, *(cell for values in columns.values() for cell in _statistics(values))))
    return ("dataset", "model", "configuration", "chosen", "seeds", "rho", "metric", "rule_score", *header), rows


def _statistics(values: Values) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    return (fmean(known) if known else None, stdev(known) if len(known) > 1 else None)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

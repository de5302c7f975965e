"""A small table of finished runs: mean and deviation over seeds. Made from ``result.json`` contents, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.shapes import NUMBER, check_shape

_NEEDED = {
    "model": str,
    "dataset": str,
    "valid_metric": str,
    "best_valid_score": NUMBER | None,
    "test_result": {"": NUMBER | None},
    "test_results": {"": {"": NUMBER | None}},
}


def read_result(run: RunFolder) -> dict[str, Any]:
    """Returns the ``result.json`` of a finished run, with all that a table of it needs.

    Raises:
        UserError: The file is missing or damaged.
    """
    result, advice = run.read_json("result.json"), f"delete {run.path} to run again"
    check_shape(run.path / "result.json", result, _NEEDED, advice)
    if "test" not in result["test_results"]:
        raise UserError(f"{run.path / 'result.json'}: expected test_results with test, found none; {advice}")
    return result


def summary_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns one line for each data set and model: the metric of ``valid_metric`` on validation and every test set.

    Each test set after the first has a column ``gap``: the mean over runs of what it loses against ``test``.

    Args:
        results: Contents of ``result.json``.
    """
    tests = list(dict.fromkeys(name for result in results for name in result["test_results"]))
    metrics = list(dict.fromkeys(result["valid_metric"] for result in results))
    header = ["dataset", "model", "runs", "metric", "valid", *tests]
    header += [f"gap {name}" for name in tests if name != "test"]
    rows = [
        _row(key, group, tests)
        for metric in metrics
        for key, group in _groups([one for one in results if one["valid_metric"] == metric]).items()
    ]
    return _aligned([header, *rows])


def gaps(tests: Mapping[str, Mapping[str, float]], decimals: int = 12) -> dict[str, dict[str, float]]:
    """Returns for each further test set what each metric loses from ``test``, which is in distribution, to it."""
    iid = tests["test"]
    return {
        name: {
            metric: round(iid[metric] - value, decimals)
            for metric, value in values.items()
            if None not in (iid.get(metric), value)  # what was not finite is null in a file
        }
        for name, values in tests.items()
        if name != "test"
    }


def iid_ood_table(tests: Mapping[str, Mapping[str, float]]) -> str:
    """Returns one line a metric: its value on ``test``, then on each further set, with the gap beside it."""
    lost = gaps(tests)
    header = ["metric", "test", *(cell for name in lost for cell in (name, "gap"))]
    rows = [
        [
            metric,
            f"{value:.4f}",
            *(f"{found:.4f}" for name in lost for found in (tests[name][metric], lost[name][metric])),
        ]
        for metric, value in tests["test"].items()
    ]
    return _aligned([header, *rows])


def _groups(results: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["dataset"], result["model"], result["valid_metric"]), []).append(result)
    return groups


def _row(key: tuple[str, str, str], group: Sequence[Mapping[str, Any]], tests: Sequence[str]) -> list[str]:
    dataset, model, metric = key
    values = [[result["best_valid_score"] for result in group]]
    values += [[result["test_results"].get(name, {}).get(metric) for result in group] for name in tests]
    lost = [gaps(result["test_results"]) for result in group]
    values += [[one.get(name, {}).get(metric) for one in lost] for name in tests if name != "test"]
    return [dataset, model, str(len(group)), metric, *map(mean_and_deviation, values)]


def mean_and_deviation(values: Sequence[float | None]) -> str:
    """Returns ``mean +- deviation`` (of the sample, over n - 1), the mean alone for one value, ``-`` for none."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.4f}"
    return f"{np.mean(known):.4f} +- {np.std(known, ddof=1):.4f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)

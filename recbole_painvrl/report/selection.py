"""Selection rules by name: which epoch, run or rho counts, said by records.

A row is the result of one model: ``{"rho": .., "valid": {metric: value}, "valid_ood": {..}, "environments": {label:
{metric: value}}, "test": {..}, further test sets ..}``. The rows of one run are its ``trade_off``, the same model at
several rho; a run without one is a row itself. Rules look at rows only, so that each sees what it may see and no more.

Source: Gulrajani and Lopez-Paz, "In Search of Lost Domain Generalization" (ICLR 2021), section 3: a method is not
complete without its selection rule, and choosing by the test distribution is an oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.runs import Configuration, Run

Row = Mapping[str, Any]
ORACLE_LABEL = "oracle: not allowed for claims"
NO_SETS = ("rho", "environments")
VALIDATION = "valid"  # the validation set, and what the names of further ones begin with
CHOSEN_IN_RUN = "validation"  # the value of variant_weight that leaves rho to the run's own validation set


@dataclass(frozen=True)
class Rule:
    """A way to choose.

    Attributes:
        name: What it is called.
        label: What is printed wherever something that it chose is printed.
        score: From a row, a metric and whether larger is better to the value by which rows are compared; None where
            the row lacks what the rule needs.
        needs: What a row has to have, and how to get it.
    """

    name: str
    label: str
    score: Callable[[Row, str, bool], float | None]
    needs: str

    @property
    def allowed(self) -> bool:
        """Whether a claim may rest on what it chose."""
        return self.label != ORACLE_LABEL


def whole_sets(row: Row) -> list[str]:
    """Returns the names of a row's whole test sets, ``test`` first."""
    return [name for name in row if name not in NO_SETS and ":" not in name and not name.startswith(VALIDATION)]


def ood_sets(row: Row) -> list[str]:
    """Returns the test sets that stand for the shift: ``test_ood`` if there is one, else all but ``test``."""
    further = [name for name in whole_sets(row) if name != "test"]
    return ["test_ood"] if "test_ood" in further else further


def _of(part: str) -> Callable[[Row, str, bool], float | None]:
    return lambda row, metric, bigger: (row.get(part) or {}).get(metric)


def _worst(row: Row, metric: str, bigger: bool) -> float | None:
    values = [result.get(metric) for result in (row.get("environments") or {}).values()]
    known = [value for value in values if value is not None]
    return (min if bigger else max)(known, default=None)


def _oracle(row: Row, metric: str, bigger: bool) -> float | None:
    values = [row[name].get(metric) for name in ood_sets(row)]
    return fmean(values) if values and None not in values else None


RULES = {
    rule.name: rule
    for rule in (
        Rule("iid_validation", "iid_validation", _of("valid"), "validation results; train with a validation set"),
        Rule(
            "ood_validation",
            "ood_validation",
            _of("valid_ood"),
            "`valid_ood` in the validation records; hold such a set out by ood_split with a validation_share, or name "
            "a file valid_ood in benchmark_filename, and run again",
        ),
        Rule(
            "worst_environment",
            "worst_environment",
            _worst,
            "`environments` in the validation records; give the .inter files a column environment:token and run again",
        ),
        Rule("oracle", ORACLE_LABEL, _oracle, "a test set beside `test`; make one by `recbole-painvrl split`"),
    )
}


@dataclass(frozen=True)
class Choice:
    """A run at the rho that a rule chose.

    Attributes:
        run: The run.
        score: What the rule compared.
        row: The chosen row.
        is_own: Whether this is the model as the run itself tested it, and not another rho.
    """

    run: Run
    score: float
    row: Row
    is_own: bool

    @property
    def rho(self) -> float | None:
        """The chosen rho; None for a model without one."""
        return self.row.get("rho")


@dataclass(frozen=True)
class Selected:
    """A configuration with each run at its chosen rho.

    Attributes:
        configuration: The configuration.
        choices: One choice a run.
        chosen: Whether the rule prefers it to the other configurations of this model on this data set.
    """

    configuration: Configuration
    choices: tuple[Choice, ...]
    chosen: bool = True

    @property
    def score(self) -> float:
        """Mean score over seeds."""
        return fmean(choice.score for choice in self.choices)


def select(configurations: Sequence[Configuration], rule: Rule) -> list[Selected]:
    """Chooses a rho for each run, then a configuration for each model and data set, by the mean over its seeds.

    Raises:
        UserError: A run lacks what the rule needs, or runs that compete were validated by different metrics.
    """
    cells: dict[tuple[str, str], list[Configuration]] = {}
    for one in configurations:
        cells.setdefault((one.dataset, one.model), []).append(one)
    return [selected for cell in cells.values() for selected in _compete(cell, rule)]


def _compete(cell: Sequence[Configuration], rule: Rule) -> list[Selected]:
    metrics = sorted({run.metric for one in cell for run in one.runs})
    if len(metrics) > 1:
        raise UserError(
            f"{cell[0].title}: runs validated by {' and '.join(metrics)} cannot be compared; report them apart"
        )
    found = [Selected(one, tuple(choose(run, rule) for run in one.runs)) for one in cell]
    bigger = cell[0].runs[0].bigger
    best = (max if bigger else min)(found, key=lambda one: one.score)
    return [Selected(one.configuration, one.choices, one is best) for one in found]


def choose(run: Run, rule: Rule) -> Choice:
    """Returns ``run`` at the rho that ``rule`` prefers; among equal ones at the smallest, the most invariant.

    A run that chose its rho on its validation set itself (``variant_weight: validation``) keeps it under
    ``iid_validation``: its configuration says how much a smaller rho may cost.

    Raises:
        UserError: The run lacks what the rule needs.
    """
    own, rows = own_row(run), run.result.get("trade_off") or []
    settled = rule.name == "iid_validation" and run.config.get("variant_weight") == CHOSEN_IN_RUN
    candidates = [own] if settled or not rows else rows
    found = _preferred(candidates, rule, run.metric, run.bigger) or _preferred([own], rule, run.metric, run.bigger)
    if found is None:
        raise UserError(f"{run.path}: {rule.name} needs {rule.needs}; or choose another --rule")
    score, row = found
    return Choice(run, score, row, row.get("rho") == own.get("rho"))


def eligible_rhos(rows: Sequence[Row], metric: str, bigger: bool) -> set[float]:
    """Returns each rho that a rule on which a claim may rest would choose among the rows of one run."""
    found = [_preferred(rows, rule, metric, bigger) for rule in RULES.values() if rule.allowed]
    return {one[1]["rho"] for one in found if one is not None}


def _preferred(rows: Sequence[Row], rule: Rule, metric: str, bigger: bool) -> tuple[float, Row] | None:
    """Returns the best score and its row, of equal ones that of the smallest rho; None if no row has what is needed."""
    scored = [(score, row) for row in rows if (score := rule.score(row, metric, bigger)) is not None]
    sign = 1.0 if bigger else -1.0
    return max(scored, key=lambda pair: (sign * pair[0], -(pair[1].get("rho") or 0.0)), default=None)


def own_row(run: Run) -> Row:
    """Returns the model of a run as it was tested: the row of ``result.json`` and of the validation it was kept for."""
    kept = kept_validation(run) or {}
    further = {key: kept[key] for key in ("valid_ood", "environments") if kept.get(key)}
    weight = run.result.get("variant_weight")
    rho = {} if weight is None else {"rho": round(weight, 6)}  # the model holds it in single precision
    valid = run.result.get("best_valid_result") or {}
    return {**rho, "valid": valid, **further, **run.result["test_results"]}


def final_validations(run: Run) -> list[dict[str, Any]]:
    """Returns the validation records of the final training: those after the last mask, all of a model without one."""
    records = run.records("valid", "mask", "chosen")
    last_mask = max((index for index, one in enumerate(records) if one["event"] == "mask"), default=-1)
    return [one for one in records[last_mask + 1 :] if one["event"] == "valid"]


def kept_validation(run: Run) -> dict[str, Any] | None:
    """Returns the validation record of the model that was kept and tested, or the one made when its rho was settled."""
    settled = run.records("chosen")
    return settled[-1] if settled else best_epoch(run, RULES["iid_validation"])


def best_epoch(run: Run, rule: Rule) -> dict[str, Any] | None:
    """Returns the first validation record that ``rule`` prefers; None if none has what it needs."""
    scored = [
        (score, record)
        for record in final_validations(run)
        if (score := rule.score(_row_of(record), run.metric, run.bigger)) is not None
    ]
    sign = 1.0 if run.bigger else -1.0
    return max(scored, key=lambda pair: sign * pair[0])[1] if scored else None


def _row_of(record: Mapping[str, Any]) -> Row:
    return {"valid": record["result"], **{key: record[key] for key in ("valid_ood", "environments") if key in record}}

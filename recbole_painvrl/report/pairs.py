"""Paired comparisons of the models of one table: against the best, the best baseline and ERM, corrected together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Cell
from recbole_painvrl.report.significance import (
    LEVEL,
    Paired,
    benjamini_hochberg,
    holm,
    paired,
    paired_values,
    user_means,
)

BEST, BASELINE, PLAIN = "best", "best baseline", "ERM"
USERS, SEEDS = "users", "seeds"
Values = Mapping[Any, float]
HEADER = (
    *("dataset", "metric", "test_set", "over", "model", "reference", "reference_is", "n"),
    *("mean_model", "mean_reference", "difference", "ci95_low", "ci95_high", "d_z"),
    *("p_t", "p_t_holm", "p_t_bh", "p_wilcoxon", "p_wilcoxon_holm", "p_wilcoxon_bh", "tests_in_family"),
)


@dataclass(frozen=True)
class Corrected:
    """A p-value and what correction makes of it; None where there is no test.

    Attributes:
        p: As tested.
        holm: Corrected by Holm.
        bh: Corrected by Benjamini and Hochberg.
        family: Number of tests that were corrected together.
    """

    p: float | None = None
    holm: float | None = None
    bh: float | None = None
    family: int = 0


@dataclass(frozen=True)
class Comparison:
    """One model against another on one test set.

    Attributes:
        test_set: The test set.
        over: What is paired, users or seeds.
        model: The model.
        reference: The model it is compared with.
        roles: What the reference is, of best, best baseline and ERM.
        means: Mean of the paired values of both.
        result: Difference, interval and effect size.
        t: p of the t-test.
        wilcoxon: p of Wilcoxon's test.
    """

    test_set: str
    over: str
    model: Selected
    reference: Selected
    roles: tuple[str, ...]
    means: tuple[float, float]
    result: Paired
    t: Corrected = field(default_factory=Corrected)
    wilcoxon: Corrected = field(default_factory=Corrected)

    @property
    def differs(self) -> bool:
        """Whether the t-test, corrected by Holm, tells the two apart."""
        return self.t.holm is not None and self.t.holm < LEVEL

    def row(self, dataset: str, metric: str) -> tuple[Cell, ...]:
        """Returns its row under :data:`HEADER`."""
        found, names = self.result, (self.model.configuration.name, self.reference.configuration.name)
        first = (dataset, metric, self.test_set, self.over, *names, ", ".join(self.roles), found.n, *self.means)
        p_values = [value for one in (self.t, self.wilcoxon) for value in (one.p, one.holm, one.bh)]
        return (*first, found.difference, found.low, found.high, found.d_z, *p_values, self.t.family)


def seed_values(one: Selected, test_set: str, metric: str) -> dict[int, float]:
    """Returns the value of each seed at the chosen rho."""
    values = {choice.run.seed: (choice.row.get(test_set) or {}).get(metric) for choice in one.choices}
    return {seed: value for seed, value in values.items() if value is not None}


def user_values(one: Selected, test_set: str, metric: str) -> dict[str, float]:
    """Returns each user's mean over seeds; none at a rho at which a run did not record its users."""
    rhos = [None if choice.is_own else choice.rho for choice in one.choices]
    return user_means([choice.run.path for choice in one.choices], test_set, metric, rhos) or {}


Pair = tuple[str, frozenset[int]]  # test set, and the two models in either order
READ: dict[str, Callable[[Selected, str, str], Values]] = {USERS: user_values, SEEDS: seed_values}


def best_of(selected: Sequence[Selected], test_set: str, metric: str, bigger: bool) -> Selected | None:
    """Returns the one with the best mean over seeds; the first among equal ones."""
    means = [(fmean(values.values()), one) for one in selected if (values := seed_values(one, test_set, metric))]
    return (max if bigger else min)(means, key=lambda pair: pair[0])[1] if means else None


def references(
    selected: Sequence[Selected], test_set: str, metric: str, bigger: bool, ours: str
) -> list[tuple[Selected, tuple[str, ...]]]:
    """Returns the models to compare with, each once, and what they are."""
    baselines = [one for one in selected if one.configuration.model != ours]
    roles = {
        BEST: best_of(selected, test_set, metric, bigger),
        BASELINE: best_of(baselines, test_set, metric, bigger),
        PLAIN: next((one for one in selected if one.configuration.model == PLAIN), None),
    }
    distinct: list[Selected] = []
    for one in roles.values():
        if one is not None and not any(one is other for other in distinct):
            distinct.append(one)
    return [(one, tuple(role for role, other in roles.items() if other is one)) for one in distinct]


def comparisons(
    selected: Sequence[Selected], sets: Sequence[str], metric: str, bigger: bool, ours: str
) -> list[Comparison]:
    """Compares every model with every reference on every test set, over users and over seeds.

    The family of a correction is all of one kind (t or Wilcoxon, users or seeds) in the table, over its test sets; two
    models that meet twice, once as each other's reference, are one test of it.
    """
    return [
        one
        for over in READ
        for one in _corrected([one for name in sets for one in _on(selected, name, metric, bigger, ours, over)])
    ]


def _on(
    selected: Sequence[Selected], test_set: str, metric: str, bigger: bool, ours: str, over: str
) -> Iterator[Comparison]:
    values = [READ[over](one, test_set, metric) for one in selected]
    for reference, roles in references(selected, test_set, metric, bigger, ours):
        theirs = next(found for one, found in zip(selected, values, strict=True) if one is reference)
        for model, own in zip(selected, values, strict=True):
            left, right = paired_values(own, theirs)
            result = None if model is reference else paired(left, right)
            if result:
                means = (float(left.mean()), float(right.mean()))
                yield Comparison(test_set, over, model, reference, roles, means, result)


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    t = _family({_pair(one): one.result.p_t for one in found})
    wilcoxon = _family({_pair(one): one.result.p_wilcoxon for one in found})
    return [replace(one, t=t.get(_pair(one), Corrected()), wilcoxon=wilcoxon[_pair(one)]) for one in found]


def _pair(one: Comparison) -> Pair:
    return one.test_set, frozenset((id(one.model), id(one.reference)))


def _family(values: Mapping[Pair, float | None]) -> dict[Pair, Corrected]:
    known = {pair: value for pair, value in values.items() if value is not None}
    p = list(known.values())
    rows = zip(known, p, holm(p), benjamini_hochberg(p), strict=True)
    return {pair: Corrected(value, by_holm, by_bh, len(p)) for pair, value, by_holm, by_bh in rows}

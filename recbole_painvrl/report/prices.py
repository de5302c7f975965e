"""What each rho of one trained model reaches in and out of distribution, beside the models that rank as well in it.

A model without a rho is one point, at one price. Beside a point of the curve stands what a user could have instead: of
the models that rank at least as well in distribution, the one that ranks best out of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from recbole_painvrl.report.leaderboard import Entry, Leaderboard
from recbole_painvrl.report.pairs import Corrected, best_of, seed_values
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Cell
from recbole_painvrl.report.significance import Paired, holm, paired, paired_values
from recbole_painvrl.report.table import further_sets

HEADER = (
    *("dataset", "metric", "test_set", "model", "rho", "iid_mean", "iid_std", "ood_mean", "ood_std", "n"),
    *("as_good_in_distribution", "best_of_them", "its_ood_mean", "difference", "ci95_low", "ci95_high"),
    *("p_t", "p_t_holm", "tests_in_family"),
)
IID = "test"
Values = Mapping[int, float]  # by seed


@dataclass(frozen=True)
class Price:
    """One rho of one model on one test set.

    Attributes:
        model: The model.
        rho: The weight of the variant branch.
        test_set: The test set of another distribution.
        iid: Value of each seed on ``test``.
        ood: Value of each seed on the test set.
        as_good: How many other models rank at least as well on ``test``, in the mean over their seeds.
        rival: The best of them on the test set; None if there is none.
        result: This rho less the rival, paired by seed; None where there is nothing to pair.
        t: Its p, corrected over the table.
    """

    model: Selected
    rho: float
    test_set: str
    iid: Values
    ood: Values
    as_good: int
    rival: Selected | None
    result: Paired | None
    t: Corrected = field(default_factory=Corrected)

    def rival_values(self, metric: str) -> Values:
        """Returns the rival's value of each seed on the test set."""
        return {} if self.rival is None else seed_values(self.rival, self.test_set, metric)

    def row(self, dataset: str, metric: str) -> tuple[Cell, ...]:
        """Returns its row under :data:`HEADER`."""
        iid, ood = entry(self.iid), entry(self.ood)
        first = (dataset, metric, self.test_set, self.model.configuration.name, self.rho, iid.mean, iid.deviation)
        rival = "" if self.rival is None else self.rival.configuration.name
        found, theirs = self.result, entry(self.rival_values(metric)).mean
        tested = (None, None, None) if found is None else (found.difference, found.low, found.high)
        own = (*first, ood.mean, ood.deviation, len(self.ood), self.as_good, rival, theirs)
        return (*own, *tested, self.t.p, self.t.holm, self.t.family)


def entry(values: Values) -> Entry:
    """Returns a cell with these values."""
    return Entry(list(values.values()))


def prices(board: Leaderboard) -> list[Price]:
    """Returns every rho of every model that has several, on every further test set of ``board``; smallest rho first."""
    models = [line.selected for line in board.chosen]
    sets = [name for name in further_sets(models) if name in board.columns]
    return _corrected([one for name in sets for model in models for one in _of(model, name, models, board)])


def _of(model: Selected, test_set: str, models: Sequence[Selected], board: Leaderboard) -> Iterator[Price]:
    others = [one for one in models if one is not model]
    for rho in _shared_rhos(model):
        iid, ood = (_at(model, rho, name, board.metric) for name in (IID, test_set))
        if not (iid and ood):
            continue
        as_good = [one for one in others if _as_good(one, fmean(iid.values()), board)]
        rival = best_of(as_good, test_set, board.metric, board.bigger)
        theirs = {} if rival is None else seed_values(rival, test_set, board.metric)
        yield Price(model, rho, test_set, iid, ood, len(as_good), rival, paired(*paired_values(ood, theirs)))


def _shared_rhos(model: Selected) -> list[float]:
    """The values of rho at which every run of a model was tested; none unless there are several."""
    tested = [{row["rho"] for row in choice.run.result.get("trade_off") or ()} for choice in model.choices]
    shared = set.intersection(*tested)
    return sorted(shared) if len(shared) > 1 else []


def _at(model: Selected, rho: float, test_set: str, metric: str) -> dict[int, float]:
    rows = {
        choice.run.seed: row for choice in model.choices for row in choice.run.result["trade_off"] if row["rho"] == rho
    }
    found = {seed: (row.get(test_set) or {}).get(metric) for seed, row in rows.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _as_good(one: Selected, mean: float, board: Leaderboard) -> bool:
    values = seed_values(one, IID, board.metric)
    return bool(values) and (fmean(values.values()) >= mean if board.bigger else fmean(values.values()) <= mean)


def _corrected(found: Sequence[Price]) -> list[Price]:
    """Corrects over all rows of the table."""
    p = {place: one.result.p_t for place, one in enumerate(found) if one.result and one.result.p_t is not None}
    by_holm = dict(zip(p, holm(list(p.values())), strict=True))
    tests = {place: Corrected(p[place], by_holm[place], family=len(p)) for place in p}
    return [replace(one, t=tests.get(place, one.t)) for place, one in enumerate(found)]

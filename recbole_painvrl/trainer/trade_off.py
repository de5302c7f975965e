"""One trained PaInvRL at several rho: the IID-OOD trade-off, and the choice of rho on validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from recbole_painvrl.report.records import key_at

VALIDATION = "valid"  # the loader whose results by environment a row holds as well


@contextmanager
def at_weight(model: Any, rho: float) -> Iterator[None]:
    """Lets ``model`` score at ``rho`` for a while."""
    kept = model.rho.clone()
    model.rho.fill_(rho)
    model.eval()  # forgets the tables that were made at another rho
    try:
        yield
    finally:
        model.rho.copy_(kept)
        model.eval()


def trade_off(trainer: Any, loaders: Mapping[str, Any], weights: Sequence[float]) -> list[dict[str, Any]]:
    """Evaluates the trainer's model at each of ``weights`` with every loader; its time counts as evaluation.

    Returns:
        One ``{"rho": weight, name of a loader: its result, ...}`` a weight, with the validation set's results by
        ``environments`` if its interactions say theirs, as in the validation records.
    """
    rows, started = [], perf_counter()
    for rho in weights:
        row: dict[str, Any] = {"rho": float(rho)}
        with at_weight(trainer.model, rho):
            for name, loader in loaders.items():
                row[name] = trainer.evaluate(loader, load_best_model=False)
                row |= trainer.environments(loader) if name == VALIDATION else {}
        rows.append(row)
    trainer.seconds_eval += perf_counter() - started
    return rows


def per_user_at(trainer: Any, loaders: Mapping[str, Any], weights: Sequence[float]) -> dict[str, NDArray[Any]]:
    """Returns each user's value of each metric [U] in each set at each of ``weights``; its time counts as evaluation.

    Returns:
        By :func:`~recbole_painvrl.report.records.key_at`, in the order in which the sets are always evaluated.
    """
    found: dict[str, NDArray[Any]] = {}
    started = perf_counter()
    for rho in weights:
        with at_weight(trainer.model, rho):
            for name, loader in loaders.items():
                trainer.evaluate(loader, load_best_model=False)
                found |= {key_at(rho, name, metric): values for metric, values in trainer.per_user().values.items()}
    trainer.seconds_eval += perf_counter() - started
    return found


def least_within(
    scores: Mapping[float, float], tolerance: float, bigger: bool, reference: float | None = None
) -> float:
    """Returns the smallest rho whose score is at most the share ``tolerance`` worse than the reference.

    That is the most invariant model whose price within the distribution is still acceptable. If every score is worse,
    the best one's rho is returned.

    Args:
        scores: validation score of each rho.
        tolerance: share of the reference that may be given up.
        bigger: whether larger scores are better.
        reference: score of the recommender without the modules; the best of ``scores`` if None.
    """
    best = max(scores.values()) if bigger else min(scores.values())
    goal = best if reference is None else reference
    limit = goal - tolerance * abs(goal) if bigger else goal + tolerance * abs(goal)
    limit = min(limit, best) if bigger else max(limit, best)
    return min(rho for rho, score in scores.items() if (score >= limit if bigger else score <= limit))


def choose_weight(
    trainer: Any,
    loader: Any,
    weights: Sequence[float],
    metric: str,
    tolerance: float,
    bigger: bool,
    reference: float | None = None,
) -> float:
    """Returns the rho of :func:`least_within` by ``metric`` on the validation set of ``loader``."""
    rows = trade_off(trainer, {VALIDATION: loader}, weights)
    return least_within({row["rho"]: row[VALIDATION][metric] for row in rows}, tolerance, bigger, reference)

"""Identification and masks on degenerate data: finite masks and whole labels, or the reason why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from hypothesis import strategies as st
from torch import Tensor

from recbole_painvrl.errors import UserError
from recbole_painvrl.invariance import (
    BPRLoss,
    EnvironmentSettings,
    FrozenRecommender,
    Interactions,
    MaskSettings,
    PairLoss,
    SoftmaxLoss,
    UltraGCNLoss,
    generate_mask,
    identify_environments,
    permuted_control,
)
from tests.fuzz.target import Target

WIDTH = 2
EACH = ("random", "one", "single", "gap", "items")
COLUMNS = ("random", "constant", "zero", "same", "huge", "tiny")


@dataclass(frozen=True)
class Situation:
    """Data of a few users and items, and how the method is asked to look at them."""

    n_users: int
    n_items: int
    pairs: tuple[tuple[int, int], ...]
    columns: tuple[str, ...]
    tables: str
    labels: str
    units: str
    loss: str
    environments: int
    method: str
    penalty: str
    batch: int | None
    dtype: str
    seed: int


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Returns a situation; one user, one item and a user with everything are among them."""
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    every = [(user, item) for user in range(1, n_users + 1) for item in range(1, n_items + 1)]
    pairs = draw(st.lists(st.sampled_from(every), min_size=1, max_size=12))
    if draw(st.booleans()):
        pairs += [pair for pair in every if pair[0] == 1]
    return Situation(
        n_users,
        n_items,
        tuple(pairs),
        tuple(draw(st.lists(st.sampled_from(COLUMNS), max_size=4))),  # none at all: modalities of width 0
        draw(st.sampled_from(("random", "random", "zero", "equal", "huge"))),
        draw(st.sampled_from(EACH)),
        draw(st.sampled_from(("rows", "users", "one"))),
        draw(st.sampled_from(("softmax", "bpr", "ultragcn"))),
        draw(st.integers(2, 4)),
        draw(st.sampled_from(("spectral", "clustering"))),
        draw(st.sampled_from(("gv", "irmv1", "vrex"))),
        draw(st.sampled_from((None, 2, 64))),
        draw(st.sampled_from(("float32", "float64"))),
        draw(st.integers(0, 3)),
    )


def tables(case: Situation) -> tuple[FrozenRecommender, Tensor]:
    """Returns the tables and the projection."""
    source = torch.Generator().manual_seed(case.seed)
    kind = getattr(torch, case.dtype)

    def table(rows: int, width: int) -> Tensor:
        scale = {"zero": 0.0, "huge": 1e3}.get(case.tables, 1.0)
        drawn = scale * torch.randn(rows, width, generator=source, dtype=kind)
        return drawn[:1].expand(rows, width).clone() if case.tables == "equal" else drawn

    columns = [_column(name, case.n_items, source, kind) for name in case.columns]
    features = torch.stack(columns, dim=1) if columns else torch.zeros(case.n_items + 1, 0, dtype=kind)
    features[0] = 0
    users = (table(case.n_users + 1, WIDTH), table(case.n_users + 1, WIDTH))
    return FrozenRecommender(*users, table(case.n_items + 1, WIDTH), features), table(WIDTH, len(columns))


def _column(name: str, n_items: int, source: torch.Generator, kind: torch.dtype) -> Tensor:
    drawn = torch.randn(n_items + 1, generator=source, dtype=kind)
    same = torch.linspace(-1, 1, n_items + 1, dtype=kind)
    others = {"constant": torch.ones_like(drawn), "zero": torch.zeros_like(drawn), "same": same}
    return others.get(name, {"huge": 1e4, "tiny": 1e-20}.get(name, 1.0) * drawn)


def given_labels(case: Situation) -> Tensor:
    """Returns environments: all in one, one of a single member, one without any, or as they come."""
    n = len(case.pairs)
    labels = torch.arange(n) % case.environments
    if case.labels == "one":
        labels = torch.zeros(n, dtype=torch.long)
    elif case.labels == "single":
        labels = (torch.arange(n) == n - 1).long()
    elif case.labels == "gap":
        labels = 5 * (torch.arange(n) % 2)
    elif case.labels == "items":
        labels = torch.tensor([item % 2 for _, item in case.pairs])
    return labels


def _loss(case: Situation, rows: Interactions) -> PairLoss:
    if case.loss == "ultragcn":
        return UltraGCNLoss.from_interactions(rows.users, rows.items, case.n_users + 1, case.n_items + 1)
    return SoftmaxLoss() if case.loss == "softmax" else BPRLoss()


def _rows(case: Situation) -> Interactions:
    users, items = zip(*case.pairs, strict=True)
    return Interactions(torch.tensor(users), torch.tensor(items))


def check_environments(case: Situation, folder: Path) -> None:
    """Identifies environments: every interaction has one, and every figure is a number."""
    (frozen, projection), rows = tables(case), _rows(case)
    groups = {"rows": None, "users": rows.users, "one": torch.zeros_like(rows.users)}[case.units]
    settings = EnvironmentSettings(case.environments, case.method, max_iter=2, fit_steps=2, batch_size=case.batch)
    source = torch.Generator().manual_seed(case.seed)
    try:
        found = identify_environments(frozen, rows, projection, source, groups, settings)
    except ValueError as error:  # what the trainer tells as its own mistake of the user
        raise UserError(f"identification: {error}") from error
    assert found.labels.shape == rows.users.shape
    assert int(found.labels.min()) >= 0 and int(found.labels.max()) < case.environments
    assert bool(found.projections.isfinite().all())
    for row in found.history:
        assert sum(row["sizes"]) == len(rows) and 0 <= row["moved"] <= 1
        assert row["objective"] is None or math.isfinite(row["objective"])
    permuted_control(frozen, rows, projection, found.labels, source, groups).record()


def check_mask(case: Situation, folder: Path) -> None:
    """Looks for a mask: within [0, 1], and every figure is a number."""
    (frozen, _), rows = tables(case), _rows(case)
    settings = MaskSettings(penalty=case.penalty, steps=4, batch_size=case.batch, n_candidates=3)
    source = torch.Generator().manual_seed(case.seed)
    try:
        found = generate_mask(frozen, rows, given_labels(case), _loss(case, rows), source, settings)
    except ValueError as error:
        raise UserError(f"mask generation: {error}") from error
    assert found.mask.shape == (len(case.columns),)
    assert bool(((found.mask >= 0) & (found.mask <= 1)).all()) and bool(found.projection.isfinite().all())
    for row in found.history:
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        bad = bad if row["norm"] else sorted(set(bad) - {"cosine", "angle", "factor"})  # a gradient may have length 0
        assert not bad, f"{bad} of {row}"


TARGETS = [
    Target("environments", situations(), check_environments, 30, 700, ("identification",)),
    Target("masks", situations(), check_mask, 30, 700, ("mask generation",)),
]

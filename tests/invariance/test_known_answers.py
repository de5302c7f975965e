"""The parts of the method on tables small enough to be worked out the long way, by autograd, NumPy or SciPy."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from recbole_painvrl.invariance import (
    EnvironmentSettings,
    FrozenRecommender,
    Interactions,
    MaskSettings,
    ParetoSettings,
    SoftmaxLoss,
    UltraGCNLoss,
    correlated_groups,
    environments,
    find_heterogeneity,
    generate_mask,
    heterogeneity,
    identify_environments,
    likelihood,
    mask,
    pareto_step,
)
from recbole_painvrl.invariance.basis import (
    BasisSettings,
    _angles,
    _inverse_covariance,
    _jacobi,
    _rounds,
    diagonalizer,
    moments,
)
from recbole_painvrl.invariance.control import _disagreement, _order
from recbole_painvrl.invariance.estimate import RunningSquare
from recbole_painvrl.invariance.families import free_projections, scaled_projections
from recbole_painvrl.invariance.frozen import score_unit
from recbole_painvrl.invariance.groups import modality_groups
from recbole_painvrl.invariance.losses import EnvironmentBatch
from recbole_painvrl.invariance.pareto import normalizer
from recbole_painvrl.invariance.partition import clusters, slices
from recbole_painvrl.invariance.sampling import EnvironmentSampler, draw_candidates

USERS = torch.tensor([1, 2, 3, 4, 5, 1, 2, 3, 4])
ITEMS = torch.tensor([1, 2, 3, 4, 1, 2, 3, 5, 5])
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])


def tables(dtype: torch.dtype = torch.float64) -> FrozenRecommender:
    """5 users, 5 items, identity and content parts of 2, 3 columns."""
    source = torch.Generator().manual_seed(3)
    shapes = [(6, 2), (6, 2), (6, 2), (6, 3)]
    return FrozenRecommender(*(torch.randn(*shape, generator=source).to(dtype) for shape in shapes))


def projection() -> Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def dense_scores(frozen: FrozenRecommender, weights: Tensor) -> Tensor:
    return frozen.user_id @ frozen.item_id.T + frozen.user_feature @ (frozen.features @ weights.T).T


# basis


@pytest.mark.parametrize("chunk", [2, 1024])
def test_moments_are_those_of_gradients_by_autograd(chunk: int) -> None:
    frozen, start = tables(), projection()
    settings = BasisSettings(n_candidates=None, chunk=chunk, ridge=0.3)
    pairs, source = Interactions(USERS, ITEMS), torch.Generator().manual_seed(0)
    disagreement, usage = moments(frozen, pairs, LABELS, start, SoftmaxLoss(), source, settings)

    users = frozen.user_feature[1:].numpy()
    second = users.T @ users / len(users)
    values, vectors = np.linalg.eigh(second)
    root = (vectors * np.sqrt(values)) @ vectors.T
    isotropic = frozen.user_feature.numpy() @ np.linalg.inv(root)

    rows = []  # each row's gradient in an isotropic user table, [k, D]
    for user, item in zip(USERS.tolist(), ITEMS.tolist(), strict=True):
        weights = start.clone().requires_grad_()
        scores = dense_scores(frozen, weights)[user, 1:]
        (torch.logsumexp(scores, dim=0) - scores[item - 1]).backward()
        own = frozen.user_feature[user].numpy()
        pull = own @ weights.grad.numpy() / (own @ own)
        rows.append(np.outer(isotropic[user], pull))
    stacked, groups = np.stack(rows), [(label == LABELS).numpy() for label in range(3)]
    means = np.stack([stacked[group].mean(axis=0) for group in groups])
    away = (means - means.mean(axis=0)).reshape(-1, 3)
    noise = sum(sum(one.T @ one for one in stacked[group]) / group.sum() ** 2 for group in groups)
    features = frozen.features[1:].numpy()
    covariance = np.cov(features.T, bias=True)
    inverse = np.linalg.inv(covariance + 0.3 * np.diag(covariance).mean() * np.eye(3))
    expected = inverse @ (away.T @ away - (1 - 1 / 3) * noise) @ inverse
    np.testing.assert_allclose(disagreement.numpy(), expected, rtol=1e-6)
    used = root @ start.numpy()
    np.testing.assert_allclose(usage.numpy(), used.T @ used, rtol=1e-9)


def test_users_without_any_content_leave_moments_finite() -> None:
    frozen = tables()
    empty = FrozenRecommender(frozen.user_id, torch.zeros(6, 2).double(), frozen.item_id, frozen.features)
    source, settings = torch.Generator().manual_seed(0), BasisSettings(n_candidates=None)
    found = moments(empty, Interactions(USERS, ITEMS), LABELS, projection(), SoftmaxLoss(), source, settings)
    assert all(bool(part.isfinite().all()) for part in found)


def test_the_ridge_is_relative_to_the_features_variance() -> None:
    features = tables().features[1:]
    plain, small = _inverse_covariance(features, 0.3), _inverse_covariance(1e-3 * features, 0.3)
    torch.testing.assert_close(small, 1e6 * plain)
    assert bool(_inverse_covariance(torch.ones(4, 2), 0.1).isfinite().all())


@pytest.mark.parametrize("count", range(1, 10))
def test_every_pair_of_axes_meets_once_in_rounds_of_disjoint_pairs(count: int) -> None:
    rounds = _rounds(count)
    met = [(int(p), int(q)) for first, second in rounds for p, q in zip(first, second, strict=True)]
    assert sorted(met) == list(itertools.combinations(range(count), 2))
    for first, second in rounds:
        seats = [*first.tolist(), *second.tolist()]
        assert len(set(seats)) == len(seats)
    assert len(rounds) <= count


def off_diagonal(matrices: np.ndarray) -> float:
    return float(sum(np.square(one).sum() - np.square(np.diag(one)).sum() for one in matrices))


def test_the_angle_is_the_best_one_for_matrices_that_share_no_axes() -> None:
    draw = np.random.default_rng(0)
    matrices = draw.normal(size=(4, 2, 2))
    matrices += matrices.transpose(0, 2, 1)
    sine, cosine = (float(one[0]) for one in _angles(matrices, np.array([0]), np.array([1])))

    def left(angle: float) -> float:
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return off_diagonal(turn.T @ matrices @ turn)

    found = left(math.atan2(sine, cosine))
    assert found <= min(left(angle) for angle in np.linspace(-math.pi, math.pi, 10_001)) + 1e-9
    assert found < 0.9 * off_diagonal(matrices)


def test_jacobi_ends_where_no_pair_has_to_be_turned() -> None:
    draw = np.random.default_rng(1)
    matrices = draw.normal(size=(3, 7, 7))
    matrices += matrices.transpose(0, 2, 1)
    axes = _jacobi(matrices.copy())
    np.testing.assert_allclose(axes.T @ axes, np.eye(7), atol=1e-12)
    turned = axes.T @ matrices @ axes
    for p, q in _rounds(7):
        assert np.abs(_angles(turned, p, q)[0]).max() < 1e-6
    assert off_diagonal(turned) < off_diagonal(matrices)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_matrices_count_equally_whatever_their_size(factor: float) -> None:
    draw = np.random.default_rng(2)
    pair = [one + one.T for one in draw.normal(size=(2, 5, 5))]
    np.testing.assert_allclose(diagonalizer([factor * pair[0], pair[1]], 5), diagonalizer(pair, 5), atol=1e-6)


def test_directions_that_only_their_size_tells_apart_are_turned() -> None:
    """The first two directions weigh the same in the sum: only turning finds them; no sign of a weight matters."""
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    first, second = np.array([-2.0, -1, 0.1, 0, 0, 0]), np.array([-1.0, -2, 0, 0.1, 0, 0])
    found = diagonalizer([(axes * first) @ axes.T, (axes * second) @ axes.T], 2)
    np.testing.assert_allclose(np.sort(np.abs(found[:, :2].T @ axes[:, :2]), axis=1)[:, -1], 1, atol=1e-9)
    largest = found[np.abs(found).argmax(axis=0), np.arange(6)]
    assert (largest > 0).all()
    np.testing.assert_allclose(found.T @ found, np.eye(6), atol=1e-9)


# control, groups, partition


@pytest.mark.parametrize("sizes", [[2, 1, 3, 1, 1], [1, 1, 1, 1, 1]])
def test_disagreement_by_hand(sizes: list[int]) -> None:
    draw = np.random.default_rng(0)
    rows = [draw.normal(size=(size, 2)) for size in sizes]
    labels = [0, 2, 1, 2, 0]
    sums = torch.tensor(np.stack([one.sum(axis=0) for one in rows]))
    together, whole = np.concatenate(rows), 0.0
    for label in range(3):
        own = np.concatenate([one for one, of in zip(rows, labels, strict=True) if of == label])
        whole += len(own) * np.square(own.mean(axis=0) - together.mean(axis=0)).sum()
    found = _disagreement(sums, torch.tensor(sizes), torch.tensor(labels))
    assert found == pytest.approx(whole / (2 * 2), rel=1e-12)
    alone = _disagreement(sums[:2], torch.tensor(sizes[:2]), torch.zeros(2, dtype=torch.long))
    assert alone == pytest.approx(0.0, abs=1e-12)


def test_two_environments_of_one_column_are_counted_once() -> None:
    """Means 1 and -2 of two rows and one: the common mean is 0, the distance 2 x 1 + 1 x 4."""
    found = _disagreement(torch.tensor([[2.0], [-2.0]]), torch.tensor([2, 1]), torch.tensor([0, 1]))
    assert found == pytest.approx(6.0)


def test_orders_are_drawn_from_the_given_generator() -> None:
    labels, state = torch.arange(50), torch.get_rng_state()
    first, again = (_order(labels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first.sort().values, labels) and not torch.equal(first, labels)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n_groups", [2, 3, 4])
def test_groups_are_those_of_average_linkage_on_correlations(seed: int, n_groups: int) -> None:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(7, 9)) * draw.uniform(0.1, 10, 9) + draw.uniform(-20, 20, 9)
    features[0] = 1e6  # padding
    distance = 1 - np.abs(np.corrcoef(features[1:].T))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.clip(distance, 0, 1), checks=False), method="average")
    expected = fcluster(tree, n_groups, criterion="maxclust")
    found = correlated_groups(torch.tensor(features), [(0, 9)], n_groups).numpy()
    assert found.dtype == np.int64 and found.max() == len(set(found.tolist())) - 1
    together = found[:, None] == found[None, :]
    assert np.array_equal(together, expected[:, None] == expected[None, :])


def test_as_many_groups_as_columns_keep_their_order() -> None:
    features = torch.tensor(np.random.default_rng(0).normal(size=(8, 5)))
    assert correlated_groups(features, [(0, 5)], 5).tolist() == [0, 1, 2, 3, 4]
    one = correlated_groups(features, [(0, 5)], 1)
    assert one.tolist() == [0] * 5 and one.dtype == torch.long
    assert modality_groups([(0, 2), (2, 3), (3, 7)]).tolist() == [0, 0, 1, 2, 2, 2, 2]


def weighted_means(places: Tensor, weights: Tensor, labels: Tensor, number: int) -> Tensor:
    own = [labels == label for label in range(number)]
    return torch.stack([(weights[one, None] * places[one]).sum(0) / weights[one].sum() for one in own])


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_clusters_end_where_every_point_is_nearest_to_its_own_weighted_mean(scale: float) -> None:
    source = torch.Generator().manual_seed(0)
    places = torch.randn(60, 2, generator=source, dtype=torch.float64)
    weights = scale * torch.randint(1, 30, (60,), generator=source).double()
    labels = clusters(places, weights, 4, rounds=200)
    means = weighted_means(places, weights, labels, 4)
    assert torch.equal(torch.cdist(places, means).argmin(dim=1), labels)
    assert labels.unique().numel() == 4


def test_one_round_of_clusters_is_one_assignment_to_the_slices_means() -> None:
    source = torch.Generator().manual_seed(1)
    places = torch.randn(40, 2, generator=source)
    weights = torch.randint(1, 30, (40,), generator=source).float()
    start = slices(places[:, 0], weights, 3)
    expected = torch.cdist(places, weighted_means(places, weights, start, 3)).argmin(dim=1)
    assert not torch.equal(expected, start)
    assert torch.equal(clusters(places, weights, 3, rounds=1), expected)


# families, likelihood, losses


def test_every_environment_starts_from_the_given_projection() -> None:
    frozen, start = tables(), projection()
    family = free_projections(frozen, start, 3)
    assert family.parameters.shape == (3, 2, 3)
    torch.testing.assert_close(family.projections(), start.expand(3, -1, -1))
    assert score_unit(frozen) != pytest.approx(1.0)
    with torch.no_grad():
        family.parameters[0] += 1.0
    torch.testing.assert_close(family.projections()[0], start + score_unit(frozen))
    torch.testing.assert_close(family.projections()[1], start)


@pytest.mark.parametrize("kind", ["free", "scaled"])
def test_derivatives_by_parameters_are_those_of_autograd(kind: str) -> None:
    axes = torch.randn(2, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    start = projection()
    family = free_projections(tables(), start, 3) if kind == "free" else scaled_projections(start, axes, 3)
    family.parameters.requires_grad_()
    weights = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    (expected,) = torch.autograd.grad((family.projections() * weights).sum(), family.parameters)
    torch.testing.assert_close(family.pull_back(weights), expected)


@pytest.mark.parametrize("block", [1, 7, likelihood.BLOCK])
@pytest.mark.parametrize("chosen", [[1, 2, 3, 4, 5], [4, 1, 5]])
def test_evidence_is_the_log_softmax(monkeypatch: pytest.MonkeyPatch, block: int, chosen: list[int]) -> None:
    """Of a sample of candidates, each counts for several items, and an item that is none of them counts for itself."""
    monkeypatch.setattr(likelihood, "BLOCK", block)
    frozen, pairs, candidates = tables(), Interactions(USERS, ITEMS), torch.tensor(chosen)
    projections = torch.stack([projection(), 2 * projection() - 0.3])
    found = likelihood.row_evidence(frozen, pairs, projections, candidates, likelihood=True)
    plain = likelihood.row_evidence(frozen, pairs, projections, candidates, likelihood=False)
    assert found.shape == plain.shape == (2, 9)
    for environment, weights in enumerate(projections):
        scores = dense_scores(frozen, weights)
        for row, (user, item) in enumerate(zip(USERS.tolist(), ITEMS.tolist(), strict=True)):
            own = float(scores[user, item])
            total = 5 / len(chosen) * float(scores[user, candidates].exp().sum())
            total += 0.0 if item in chosen else math.exp(own)
            assert float(plain[environment, row]) == pytest.approx(own)
            assert float(found[environment, row]) == pytest.approx(own - math.log(total))


def test_factors_of_ultragcn_are_those_of_degrees() -> None:
    """Users 1 and 2 have two interactions and one, user 3 none; item 2 two, item 1 one, item 3 none."""
    pairs = torch.tensor([1, 1, 2]), torch.tensor([1, 2, 2])
    found = UltraGCNLoss.from_interactions(*pairs, 4, 5, (1.0, 2.0, 3.0, 4.0), 7.0, torch.float64)
    users, items = torch.tensor([0, 2, 1, 0]).double(), torch.tensor([0, 1, 2, 0, 0]).double()
    torch.testing.assert_close(found.user_factor, (users + 1).sqrt() / users.clamp(min=1))
    torch.testing.assert_close(found.item_factor, 1 / (items + 1).sqrt())
    assert (found.constants, found.negative_weight) == ((1.0, 2.0, 3.0, 4.0), 7.0)
    assert found.user_factor.dtype == found.item_factor.dtype == torch.float64
    plain = UltraGCNLoss.from_interactions(*pairs, 4, 5)
    assert (plain.constants, plain.negative_weight, plain.user_factor.dtype) == ((1.0,) * 4, 1.0, torch.float32)


# identification


@pytest.mark.parametrize(("rows", "drawn_items"), [(None, None), (2, 3)])
def test_projections_follow_adam_on_their_members(rows: int | None, drawn_items: int | None) -> None:
    """One round of clustering is that many steps of Adam on members' mean loss plus a ridge, drawn in this order."""
    pairs = Interactions(USERS, ITEMS)
    settings = EnvironmentSettings(
        n_environments=2,
        method="clustering",
        max_iter=1,
        fit_steps=4,
        ridge=3.0,
        batch_size=rows,
        n_candidates=drawn_items,
        n_judges=4,
    )
    source = torch.Generator().manual_seed(8)
    found = identify_environments(tables(), pairs, projection(), source, settings=settings)

    source, frozen = torch.Generator().manual_seed(8), tables()
    labels = torch.randperm(9, generator=source) % 2
    judges = draw_candidates(5, 4, source, labels.device)
    unit = score_unit(frozen)
    parameters = (projection() / unit).expand(2, -1, -1).clone().requires_grad_()
    optimizer = torch.optim.Adam([parameters], lr=settings.learning_rate)
    sampler = EnvironmentSampler(labels, 2, rows, source)
    for _ in range(4):
        candidates = draw_candidates(5, drawn_items, source, labels.device)
        batch = sampler.batch(pairs, candidates, torch.float64)
        loss = torch.zeros((), dtype=torch.float64)
        for environment in range(2):
            scores = dense_scores(frozen, unit * parameters[environment])
            loss = loss + 3.0 * parameters[environment].square().mean()
            of_rows = zip(batch.users[environment], batch.items[environment], batch.weights[environment], strict=True)
            for user, item, weight in of_rows:
                others = scores[user, candidates[candidates != item]].exp().sum() * 5 / len(candidates)
                loss = loss + weight * ((others + scores[user, item].exp()).log() - scores[user, item])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(found.projections, unit * parameters.detach())
    evidence = likelihood.row_evidence(frozen, pairs, found.projections, judges, likelihood=True)
    assert torch.equal(found.labels, evidence.argmax(dim=0))
    assert found.history[0]["objective"] == pytest.approx(float(evidence.max(dim=0).values.mean()))
    assert found.history[0]["moved"] == pytest.approx(float((found.labels != labels).double().mean()))


@pytest.mark.parametrize(("groups", "most"), [(None, 1), ([0, 0, 1, 1, 2, 2, 3, 3, 4], 3)])
def test_units_of_several_interactions_may_differ_along_several_directions(groups: list[int] | None, most: int) -> None:
    """Single interactions are sliced along one direction; E environments need no more than E - 1."""
    asked = []

    def find(*arguments: object) -> heterogeneity.Heterogeneity:
        asked.append(arguments[5])
        return find_heterogeneity(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environments, "find_heterogeneity", find)
        identify_environments(
            tables(),
            Interactions(USERS, ITEMS),
            projection(),
            torch.Generator().manual_seed(0),
            None if groups is None else torch.tensor(groups),
            EnvironmentSettings(n_environments=4, max_iter=1),
        )
    assert asked == [most]


def search_of(labels: list[int], **settings: Any) -> environments._Search:
    """A search in which single interactions have these labels."""
    start, source = projection(), torch.Generator().manual_seed(0)
    family = free_projections(tables(), start, 3)
    made = environments._Search(
        tables(), Interactions(USERS, ITEMS), family, (torch.arange(9), 9), source, EnvironmentSettings(3, **settings)
    )
    made.labels = torch.tensor(labels)
    return made


@pytest.mark.parametrize(
    ("labels", "min_share", "reseeded"),
    [
        ([0, 0, 1, 1, 2, 2, 2, 2, 2], None, 0),
        ([0, 0, 1, 1, 2, 2, 2, 2, 2], 0.3, 2),
        ([0, 1, 1, 1, 2, 2, 2, 2, 2], None, 0),
        ([1, 1, 1, 1, 2, 2, 2, 2, 2], None, 1),
        ([2, 2, 2, 2, 2, 2, 2, 2, 2], None, 2),
    ],
)
def test_environments_that_are_too_small_get_a_part_of_the_largest(
    labels: list[int], min_share: float | None, reseeded: int
) -> None:
    search = search_of(labels, min_share=min_share)
    search.family.parameters[2] += 1.0
    former = search.family.parameters.clone()
    row = search._settle(torch.tensor(labels), 0.5)
    assert row == {
        "moved": 0.0,
        "objective": 0.5,
        "sizes": search.labels.bincount(minlength=3).tolist(),
        "reseeded": reseeded,
    }
    assert min(row["sizes"]) > 0
    for environment in range(3):
        taken_over = not torch.equal(search.family.parameters[environment], former[environment])
        assert taken_over == (environment != 2 and labels.count(environment) < (9 * min_share if min_share else 1))


def test_single_interactions_stay_in_the_slices_they_start_in() -> None:
    pairs, told = Interactions(USERS, ITEMS), []
    settings = EnvironmentSettings(n_environments=3, max_iter=5, tolerance=0.0)
    found = identify_environments(
        tables(), pairs, projection(), torch.Generator().manual_seed(0), settings=settings, callback=told.append
    )
    places = found.heterogeneity.coordinates
    assert torch.equal(found.labels, slices(places[:, 0], torch.ones(9).double(), 3))
    assert told == found.history and len(told) == 1
    assert (told[0]["iteration"], told[0]["objective"], told[0]["sizes"]) == (1, None, [3, 3, 3])
    torch.testing.assert_close(found.projections, projection().expand(3, -1, -1))


def test_units_of_several_interactions_start_in_clusters_and_move_on() -> None:
    groups = torch.tensor([7, 7, 3, 3, 9, 9, 4, 4, 4])
    arguments = (tables(), Interactions(USERS, ITEMS), projection())
    for rounds in (1, 3):
        settings = EnvironmentSettings(n_environments=2, max_iter=rounds, tolerance=-1.0, fit_steps=2)
        source = torch.Generator().manual_seed(0)
        found = identify_environments(*arguments, source, groups, settings)
        assert [row["objective"] is None for row in found.history] == [True, False, False][:rounds]
        if rounds == 1:
            units = torch.unique(groups, return_inverse=True)[1]
            places = found.heterogeneity.coordinates
            expected = clusters(places, torch.bincount(units).to(places.dtype), 2)
            assert torch.equal(found.labels, expected[units])


def test_a_round_in_which_nothing_moves_is_the_last() -> None:
    settings = EnvironmentSettings(n_environments=2, method="clustering", max_iter=50, fit_steps=1, tolerance=0.0)
    source = torch.Generator().manual_seed(0)
    history = identify_environments(
        tables(), Interactions(USERS, ITEMS), projection(), source, settings=settings
    ).history
    assert [row["moved"] > 0 for row in history] == [True] * (len(history) - 1) + [False]
    assert len(history) < 50


def test_tables_are_folded_once() -> None:
    """A second folding changes nothing: the bias has become a column."""
    whole = replace(tables(), bias=torch.tensor([0.3, -1.0]).double(), item_scale=torch.arange(1.0, 7.0).double())
    once = whole.folded()
    assert once.bias is None and once.item_scale is None
    assert torch.equal(once.folded().user_id, once.user_id)
    expected = whole.item_scale * (dense_scores(tables(), projection()) + (whole.user_feature @ whole.bias)[:, None])
    torch.testing.assert_close(dense_scores(once, projection()), expected)


@pytest.mark.parametrize("kind", ["loss", "loss+", "none"])
def test_the_least_norm_is_that_of_the_normalized_gradients(kind: str) -> None:
    first, second, losses = torch.tensor([1.0, 0.5]), torch.tensor([-3.0, 4.0]), (2.0, 5.0)
    divisors = {"loss": losses, "loss+": (2 * math.hypot(1, 0.5), 5 * 5.0), "none": (1.0, 1.0)}[kind]
    found = pareto_step(first, second, losses, ParetoSettings(normalize=kind))
    ends = [gradient.double() / by for gradient, by in zip((first, second), divisors, strict=True)]
    shares = torch.linspace(0, 1, 100_001, dtype=torch.float64)[:, None]
    lengths = (shares * ends[0] + (1 - shares) * ends[1]).square().sum(dim=1)
    assert found.weight == pytest.approx(float(shares[lengths.argmin()]), abs=2e-5)
    assert 0 < found.weight < 1
    assert found.norm == pytest.approx(float(lengths.min()), rel=1e-4)


def test_nothing_is_divided_by_zero() -> None:
    assert [normalizer(kind, 0.0, 0.0) for kind in ("l2", "loss", "loss+", "none")] == [1.0] * 4
    assert [normalizer(kind, 3.0, 2.0) for kind in ("l2", "loss", "loss+", "none")] == [3.0, 2.0, 6.0, 1.0]


def test_a_decay_that_cannot_be_used_is_told_with_the_settings() -> None:
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\)"):
        MaskSettings(smoothing=1.5)


def mask_search(**settings: Any) -> mask._Search:
    """A search of a mask on single-precision tables, all rows and candidates a step."""
    whole = {"batch_size": None, "n_candidates": None, "sigma": 0.0} | settings
    source = torch.Generator().manual_seed(2)
    pairs = Interactions(USERS, ITEMS)
    return mask._Search(tables(torch.float32), pairs, LABELS, SoftmaxLoss(), source, MaskSettings(**whole), None)


@pytest.mark.parametrize(
    ("places", "ends"),
    [
        ([0.5] * mask.WINDOW, False),  # too early to tell
        ([0.9, *[0.5] * (mask.WINDOW - 1), 0.6], False),  # moved, to the last one
        ([0.5, *[0.7] * (mask.WINDOW - 1), 0.5], True),  # there again after a window, whatever lies between
        ([0.9, 0.5, *[0.6] * (mask.WINDOW - 1), 0.5], True),  # what was before the window does not count
        ([0.5, *[0.5] * (mask.WINDOW - 1), 0.75], False),  # as far as the tolerance is not under it
    ],
)
def test_a_search_ends_when_no_gate_has_moved_over_the_window(places: list[float], ends: bool) -> None:
    search = mask_search(tolerance=0.25 if places[-1] == 0.75 else 1e-3)
    search.masks = [torch.tensor([0.3, place]) for place in places]
    assert search.finished() == ends


def test_a_search_ends_after_its_steps_or_enough_stationary_ones_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    search = mask_search(steps=7, tolerance=0.1)
    found = iter([0.05, 0.1, 0.05, 0.05, 0.5, 0.0, 0.0])
    counts = []

    def step(first: Tensor, *_: object) -> Any:
        return replace(pareto_step(first, first), stationarity=next(found))

    monkeypatch.setattr(mask, "pareto_step", step)
    while not search.finished():
        counts.append((search.step()["step"], search.stationary))
    assert counts == list(zip(range(1, 8), [1, 0, 1, 2, 0, 1, 2], strict=True))
    search.masks, search.stationary = search.masks[:2], mask.PATIENCE - 1
    assert not search.finished()
    search.stationary += 1
    assert search.finished()


@pytest.mark.parametrize("sigma", [0.4, 30.0])
def test_noise_is_added_to_the_gates_position_as_drawn(sigma: float) -> None:
    search = mask_search(sigma=sigma)
    search.mu.copy_(torch.tensor([-0.4, 0.1, 0.3]))
    search.generator.manual_seed(11)
    gate, inside = search._noisy_gate()
    noise = torch.randn(3, generator=torch.Generator().manual_seed(11))
    position = torch.tensor([0.1, 0.6, 0.8]) + sigma * noise
    assert {0.0, 1.0} <= set(gate.tolist()) or sigma < 1
    torch.testing.assert_close(gate, position.clamp(0, 1))
    assert torch.equal(inside, ((position > 0) & (position < 1)).float())


@pytest.mark.parametrize("rows", [None, 0, 2, 3, 4])
@pytest.mark.parametrize("candidates", [None, 0, 1, 4, 5, 6])
def test_only_samples_are_estimated(monkeypatch: pytest.MonkeyPatch, rows: int | None, candidates: int | None) -> None:
    """Three rows an environment and five items; whole ones need no estimate from several batches."""
    asked: list[int | None] = []

    def draw(n_items: int, number: int | None, *others: Any) -> Tensor:
        asked.append(number)
        return draw_candidates(n_items, number, *others)

    monkeypatch.setattr(mask, "draw_candidates", draw)
    search = mask_search(batch_size=rows, n_candidates=candidates, smoothing=0.7, estimate="average")
    whole = rows != 2 and candidates not in (1, 4)
    assert search.sampler.width == (2 if rows == 2 else 3)
    assert (search.memory.kind, search.memory.decay) == (("batch", 0.0) if whole else ("average", 0.7))
    assert asked == ([] if whole else [candidates])  # an estimate needs a batch before the first step's
    row = search.step()
    assert asked == [candidates] * (1 if whole else 2)
    assert row["mask_mean"] == pytest.approx(float(search.mask().mean()))
    assert search.step()["mask_mean"] == pytest.approx(float(search.mask().mean()))


def test_without_a_step_the_projection_is_the_drawn_one_in_units_of_the_scores() -> None:
    frozen, pairs = tables(torch.float32), Interactions(USERS, ITEMS)
    settings = MaskSettings(steps=0, initial_scale=0.2, batch_size=None, n_candidates=None)
    found = generate_mask(frozen, pairs, LABELS, SoftmaxLoss(), torch.Generator().manual_seed(2), settings)
    drawn = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.projection, score_unit(frozen) * 0.2 * drawn)
    assert found.mask.tolist() == [0.5] * 3 and not found.history


def test_no_column_no_mask() -> None:
    empty = replace(tables(), features=torch.zeros(6, 0).double())
    with pytest.raises(ValueError, match=r"^there is no feature column to make a mask of\.$"):
        generate_mask(empty, Interactions(USERS, ITEMS), LABELS, SoftmaxLoss(), torch.Generator())


def test_the_angle_of_two_gradients_whatever_their_lengths() -> None:
    found = pareto_step(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 3.0]))
    assert found.cosine == pytest.approx(math.sqrt(0.5)) and found.angle == pytest.approx(45.0)
    assert found.stationarity == pytest.approx((1 + math.sqrt(0.5)) / 2)
    nothing = pareto_step(torch.zeros(2), torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(nothing.direction, torch.tensor([0.6, 0.8]) * (1 - nothing.weight))
    assert nothing.stationarity == 0 and math.isnan(nothing.cosine) and math.isnan(nothing.angle)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_nearly_equal_gradients_count_exactly_the_same(size: float) -> None:
    first = size * torch.tensor([1.0, 2.0, 3.0])
    assert pareto_step(first, first * (1 + 1e-6)).weight == 0.5
    assert pareto_step(first, first * (1 + 1e-6), settings=ParetoSettings(bounds=(0.7, 0.0))).weight == 0.7


def test_every_step_is_that_of_adam_on_gradients_by_autograd() -> None:
    """Gates along the bisector of penalty and risk; the projection along risk and ridge, in units of the scores."""
    frozen, pairs = tables(), Interactions(USERS, ITEMS)
    settings = MaskSettings(steps=4, sigma=0.0, batch_size=None, n_candidates=None, weight_decay=5.0, initial_scale=0.2)
    found = generate_mask(frozen, pairs, LABELS, SoftmaxLoss(), torch.Generator().manual_seed(2), settings)

    unit, source = score_unit(frozen), torch.Generator().manual_seed(2)
    scaled = replace(frozen, user_feature=unit * frozen.user_feature)
    start = 0.2 * torch.randn(2, 3, generator=source, dtype=torch.float64)
    position, weights = torch.zeros(3, dtype=torch.float64, requires_grad=True), start.requires_grad_()
    optimizer = torch.optim.Adam([position, weights], lr=settings.learning_rate)
    for step in range(4):
        gate = (position + 0.5).clamp(0, 1)
        masked = weights * gate
        scores = dense_scores(scaled, masked)[:, 1:]
        of_rows = torch.logsumexp(scores[USERS], dim=1) - scores[USERS, ITEMS - 1]
        losses = [of_rows[label == LABELS].mean() for label in range(3)]
        gradients = torch.stack([torch.autograd.grad(one, masked, create_graph=True)[0] for one in losses])
        penalty = (gate.square() * (gradients - gradients.mean(dim=0)).square().mean(dim=(0, 1))).sum()
        risk = torch.stack(losses).mean()
        ends = [torch.autograd.grad(one, position, retain_graph=True)[0] for one in (penalty, risk)]
        (on_weights,) = torch.autograd.grad(risk, weights)
        assert found.history[step]["irm"] == pytest.approx(float(penalty.detach()))
        assert found.history[step]["erm"] == pytest.approx(float(risk.detach()))
        position.grad = sum(0.5 * end / end.norm() for end in ends)
        weights.grad = on_weights + 2 * 5.0 / 6 * weights.detach()
        optimizer.step()
    torch.testing.assert_close(found.mask, (position.detach() + 0.5).clamp(0, 1))
    torch.testing.assert_close(found.projection, unit * weights.detach())


def test_groups_have_as_many_gates_as_their_numbers() -> None:
    pairs, source = Interactions(USERS, ITEMS), torch.Generator()
    search = mask._Search(tables(), pairs, LABELS, SoftmaxLoss(), source, MaskSettings(), torch.tensor([1, 0, 1]))
    search.mu.copy_(torch.tensor([0.25, -0.125]))
    assert search.mu.shape == (2,)
    assert search.mask().tolist() == [0.375, 0.75, 0.375]


def test_the_unit_of_a_projection_is_that_of_scores_of_variance_one() -> None:
    """All rows but the padding count."""
    frozen = tables()
    users, features = frozen.user_feature[1:], frozen.features[1:]
    expected = 1 / math.sqrt(float(users.square().mean() * features.square().mean()) * 2 * 3)
    assert score_unit(frozen) == pytest.approx(expected)
    padded = replace(frozen, features=torch.cat([100 * torch.ones(1, 3), features]))
    assert score_unit(padded) == pytest.approx(expected)
    assert score_unit(replace(frozen, features=0 * frozen.features)) == 1.0


def test_squares_are_estimated_without_bias_unless_told_otherwise() -> None:
    assert (RunningSquare().kind, RunningSquare().decay) == ("unbiased", 0.9)
    assert RunningSquare("average", 0.0).decay == 0.0
    with pytest.raises(ValueError, match="above 0 for estimate 'unbiased'"):
        RunningSquare("unbiased", 0.0)


def test_rows_of_very_different_scores_keep_their_losses() -> None:
    positive, negative = torch.tensor([[2000.0, -2000.0]]), torch.tensor([[[2001.0, 1990.0], [-2000.0, -2002.0]]])
    rows = torch.tensor([[1, 1]])
    found = SoftmaxLoss()(positive, negative, EnvironmentBatch(rows, rows, torch.ones(1, 2), torch.tensor([2, 3])))
    expected = [math.log(1 + math.e + math.exp(-10)), math.log(2 + math.exp(-2))]
    torch.testing.assert_close(found.loss, torch.tensor([expected]), rtol=0, atol=1e-3)  # of scores of thousands


def test_an_environment_without_rows_is_named() -> None:
    with pytest.raises(ValueError, match=r"these have none: \[2\]"):
        EnvironmentSampler(torch.tensor([0, 1, 1]), 3, None, torch.Generator())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("user_feature", (5, 2), "users of user_id and user_feature must agree, but got 6 and 5."),
        ("features", (7, 3), "items of item_id and features must agree, but got 6 and 7."),
        ("item_id", (6, 4), "width of user_id and item_id must agree, but got 2 and 4."),
        ("item_scale", (3,), "items of item_scale and features must agree, but got 3 and 6."),
    ],
)
def test_tables_that_do_not_fit_are_named(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        replace(tables(), **{name: torch.zeros(shape)})
    assert str(caught.value) == message

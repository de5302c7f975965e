"""Learned axes, against autograd, NumPy or SciPy on tables of five users."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from recbole_painvrl.invariance import FrozenRecommender, Interactions, SoftmaxLoss
from recbole_painvrl.invariance.basis import (
    BasisSettings,
    _angles,
    _inverse_covariance,
    _jacobi,
    _rounds,
    diagonalizer,
    moments,
)
from tests.invariance.known import ITEMS, LABELS, USERS, dense_scores, projection, tables


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

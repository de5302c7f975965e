"""Axes along which invariant and variant content come apart, one orthogonal basis a block of columns.

An encoder mixes what a mask by columns would have to separate. Moments of the features cannot undo that: only the
interactions tell which directions count differently from one environment to the next. Two matrices say so for every
pair of columns: how much the environments disagree, and how much the recommender uses the content. In a basis in which
both are diagonal, as far as one basis can do that, a mask by columns separates.

The disagreement is that of the environments' gradients by the projection, ``sum_e (Gamma_e - mean)^T (Gamma_e - mean)``
less what sampling of rows adds to it, with the users' table made isotropic and the gradients multiplied by the inverse
covariance of the features, so that they are directions in which scores should change.

Source of the joint diagonalization: Cardoso and Souloumiac, "Jacobi angles for simultaneous diagonalization", 1996.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .frozen import FrozenRecommender
from .losses import EnvironmentBatch, PairLoss
from .penalty import row_terms
from .sampling import Interactions


@dataclass(frozen=True)
class BasisSettings:
    """How a basis is looked for.

    Attributes:
        n_candidates: Items every row is compared with; None or 0 takes all.
        chunk: Rows at a time.
        ridge: Added to the features' covariance before it is inverted, in units of its mean diagonal.
        directions: Leading directions of a block that are told apart; the others are left among themselves.
    """

    n_candidates: int | None = 1024
    chunk: int = 1024
    ridge: float = 0.1
    directions: int = 64


@torch.no_grad()
def learn_basis(
    frozen: FrozenRecommender,
    interactions: Interactions,
    labels: Tensor,
    projection: Tensor,
    loss: PairLoss,
    blocks: Sequence[tuple[int, int]],
    generator: torch.Generator,
    settings: BasisSettings | None = None,
) -> list[Tensor]:
    """Returns an orthogonal basis [D_m, D_m] of each block, an axis a column; features become ``x @ basis``.

    Args:
        frozen: Tables of the trained recommender.
        interactions: Training interactions, [n].
        labels: [n] environment of each.
        projection: [k, D] trained projection, at which the gradients are taken.
        loss: Loss of a row.
        blocks: (start, stop) of the columns of each block.
        generator: Source of the candidates.
        settings: How to look.
    """
    settings = settings or BasisSettings()
    disagreement, usage = moments(frozen.folded(), interactions, labels, projection, loss, generator, settings)
    bases = []
    for start, stop in blocks:
        pair = [part[start:stop, start:stop].cpu().numpy() for part in (disagreement, usage)]
        bases.append(torch.from_numpy(diagonalizer(pair, settings.directions)).to(frozen.features))
    return bases


@torch.no_grad()
def moments(
    frozen: FrozenRecommender,
    interactions: Interactions,
    labels: Tensor,
    projection: Tensor,
    loss: PairLoss,
    generator: torch.Generator,
    settings: BasisSettings,
) -> tuple[Tensor, Tensor]:
    """Returns the environments' disagreement and the projection's use of the columns, both [D, D] in double precision.

    Args:
        frozen: Tables without scale and bias.
        interactions: Training interactions, [n].
        labels: [n] environment of each.
        projection: [k, D].
        loss: Loss of a row.
        generator: Source of the candidates.
        settings: Candidates, chunk and ridge.
    """
    candidates = frozen.draw_rivals(settings.n_candidates, generator)
    isotropic, root = _isotropic(frozen.user_feature)
    gradients, noises = [], []
    for label in torch.unique(labels):
        rows = (labels == label).nonzero().flatten()
        parts = Interactions(interactions.users[rows], interactions.items[rows])
        gradient, noise = _gradient(frozen, parts, candidates, projection, loss, isotropic, settings.chunk)
        gradients.append(gradient)
        noises.append(noise)
    deviations = torch.stack(gradients) - torch.stack(gradients).mean(dim=0)
    flat = deviations.flatten(end_dim=1)
    disagreement = flat.T @ flat - (1 - 1 / len(gradients)) * torch.stack(noises).sum(dim=0)
    inverse = _inverse_covariance(frozen.features[1:], settings.ridge)
    used = root @ projection.double()
    return inverse @ disagreement @ inverse, used.T @ used


def _isotropic(users: Tensor) -> tuple[Tensor, Tensor]:
    """The users' table [U, k] with equal mean squares in all directions, and the root [k, k] that undoes it."""
    table = users.double()
    values, vectors = torch.linalg.eigh(table[1:].T @ table[1:] / max(len(table) - 1, 1))
    lengths = values.clamp_min(1e-6 * max(float(values[-1]), 1e-30)).sqrt()
    return table @ ((vectors / lengths) @ vectors.T), (vectors * lengths) @ vectors.T


def _gradient(
    frozen: FrozenRecommender,
    rows: Interactions,
    candidates: Tensor,
    projection: Tensor,
    loss: PairLoss,
    isotropic: Tensor,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """The mean gradient [k, D] over rows of one environment, and what its noise adds to ``Gamma^T Gamma``, [D, D]."""
    width = frozen.features.shape[1]
    gradient = isotropic.new_zeros(isotropic.shape[1], width)
    noise = isotropic.new_zeros(width, width)
    for users, items in zip(rows.users.split(chunk), rows.items.split(chunk), strict=True):
        weights = frozen.features.new_ones(1, len(users))
        batch = EnvironmentBatch(users[None], items[None], weights, candidates)
        _, terms = row_terms(frozen, batch, projection, loss)
        pull = terms.positive[0, :, None] * frozen.features[items] + terms.negative[0] @ frozen.features[candidates]
        pull, of_user = pull.double(), isotropic[users]
        gradient += of_user.T @ pull
        noise += (pull * of_user.square().sum(dim=1, keepdim=True)).T @ pull
    return gradient / len(rows), noise / len(rows) ** 2


def _inverse_covariance(features: Tensor, ridge: float) -> Tensor:
    """The inverse [D, D] of the features' covariance plus a ridge."""
    centered = features.double() - features.double().mean(dim=0)
    covariance = centered.T @ centered / max(len(centered), 1)
    unit = max(float(covariance.diagonal().mean()), 1e-30)
    inverse: Tensor = torch.linalg.inv(covariance + ridge * unit * torch.eye(len(covariance)).to(covariance))
    return inverse


def diagonalizer(matrices: Sequence[NDArray[Any]], directions: int) -> NDArray[Any]:
    """Returns the orthogonal matrix [D, D] that makes symmetric matrices [D, D] as diagonal as one basis can.

    Every matrix counts equally, whatever its size. Of wide matrices the ``directions`` largest ones of their sum are
    turned; the others stay as they are. Axes have no sign: the largest entry of each is made positive.
    """
    scaled = [matrix / max(np.linalg.norm(matrix), 1e-300) for matrix in matrices]
    values, axes = np.linalg.eigh(sum(scaled))
    axes = axes[:, np.argsort(-np.abs(values), kind="stable")]
    leading = axes[:, :directions]
    turned = leading @ _jacobi(np.stack([leading.T @ matrix @ leading for matrix in scaled]))
    axes = np.concatenate([turned, axes[:, directions:]], axis=1)
    signed: NDArray[Any] = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return signed


def _jacobi(matrices: NDArray[Any], sweeps: int = 50, tolerance: float = 1e-8) -> NDArray[Any]:
    """Turns pairs of axes of symmetric matrices [M, r, r] until none has to be turned; returns the axes [r, r]."""
    axes = np.eye(matrices.shape[1])
    for _ in range(sweeps):
        largest = 0.0
        for p, q in _rounds(matrices.shape[1]):
            sine, cosine = _angles(matrices, p, q)
            largest = max(largest, float(np.abs(sine).max(initial=0.0)))
            _turn(matrices, p, q, sine, cosine)
            _turn(matrices.transpose(0, 2, 1), p, q, sine, cosine)
            _turn(axes, p, q, sine, cosine)
        if largest < tolerance:
            break
    return axes


def _rounds(count: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """All pairs of ``count`` axes, in rounds of disjoint pairs that can be turned at once (a round-robin table)."""
    seats = list(range(count + count % 2))
    rounds = []
    for _ in range(len(seats) - 1):
        half = len(seats) // 2
        pairs = [sorted(pair) for pair in zip(seats[:half], seats[: half - 1 : -1], strict=True) if max(pair) < count]
        first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        rounds.append((first, second))
        seats[1:] = [seats[-1], *seats[1:-1]]
    return rounds


def _angles(matrices: NDArray[Any], p: NDArray[Any], q: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sine and cosine of the angle that lowers the off-diagonal entries of each pair the most."""
    gap = matrices[:, p, p] - matrices[:, q, q]
    off = 2 * matrices[:, p, q]
    on, across = (gap**2 - off**2).sum(axis=0), 2 * (gap * off).sum(axis=0)
    angle = 0.5 * np.arctan2(across, on + np.hypot(on, across))
    return np.sin(angle), np.cos(angle)


def _turn(matrix: NDArray[Any], p: NDArray[Any], q: NDArray[Any], sine: NDArray[Any], cosine: NDArray[Any]) -> None:
    """Turns the columns p and q of the last axis, in place."""
    left, right = matrix[..., p], matrix[..., q]
    matrix[..., p], matrix[..., q] = cosine * left + sine * right, cosine * right - sine * left

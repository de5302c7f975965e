"""Learned axes: joint diagonalization, and planted columns behind a rotation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_painvrl.invariance import BPRLoss, MaskSettings, SoftmaxLoss, UltraGCNLoss, learn_basis
from recbole_painvrl.invariance import generate_mask as generate
from recbole_painvrl.invariance.basis import BasisSettings, diagonalizer, moments
from tests.invariance.pretrained import Study

QUICK = MaskSettings(batch_size=256, n_candidates=64)
BLOCKS = [(0, 16), (16, 32), (32, 48)]


def orthogonal(width: int, seed: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


def mixed(study: Study) -> tuple[Study, torch.Tensor]:
    """The study with each modality's columns behind a random rotation, and the rotation [D, D]."""
    turn = torch.block_diag(*(torch.tensor(orthogonal(16, seed), dtype=torch.float32) for seed in range(3)))
    frozen = replace(study.frozen, features=study.frozen.features @ turn)
    return replace(study, frozen=frozen, projection=study.projection @ turn), turn


@pytest.mark.parametrize("width", [2, 5, 8])
def test_matrices_that_share_their_axes_are_made_diagonal(width: int) -> None:
    axes, source = orthogonal(width, 1), np.random.default_rng(0)
    matrices = [(axes * source.uniform(0, 1, width)) @ axes.T for _ in range(3)]
    found = diagonalizer([1e-6 * matrices[0], *matrices[1:]], width)
    np.testing.assert_allclose(found.T @ found, np.eye(width), atol=1e-10)
    np.testing.assert_allclose(np.sort(np.abs(found.T @ axes), axis=0)[-1], 1, atol=1e-6)
    for matrix in matrices:
        turned = found.T @ matrix @ found
        np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-6)


def test_of_wide_matrices_the_leading_directions_are_turned() -> None:
    axes = orthogonal(40, 2)
    first, second = (np.zeros(40) for _ in range(2))
    first[:3], second[:3] = (3, 2, 1), (1, 3, 1.5)
    found = diagonalizer([(axes * first) @ axes.T, (axes * second) @ axes.T], 4)
    np.testing.assert_allclose(found.T @ found, np.eye(40), atol=1e-8)
    np.testing.assert_allclose(np.abs(found.T @ axes[:, :3]).max(axis=0), 1, atol=1e-6)


def test_sampling_noise_of_rows_is_taken_off(small: Study) -> None:
    """With labels at random the environments disagree by sampling alone: nothing is left of it in the mean."""
    given = (small.frozen.folded(), small.interactions)
    traces = []
    for seed in range(6):
        labels = small.labels[torch.randperm(len(small.labels), generator=torch.Generator().manual_seed(seed))]
        settings = BasisSettings(n_candidates=None)
        source = torch.Generator().manual_seed(0)
        traces.append(float(moments(*given, labels, small.projection, SoftmaxLoss(), source, settings)[0].trace()))
    source = torch.Generator().manual_seed(0)
    true = float(moments(*given, small.labels, small.projection, SoftmaxLoss(), source, settings)[0].trace())
    assert abs(np.mean(traces)) < 0.05 * true


@pytest.mark.parametrize("name", ["softmax", "bpr", "ultragcn"])
def test_axes_do_not_depend_on_the_rotation_they_are_learned_behind(small: Study, name: str) -> None:
    behind, turn = mixed(small)
    sizes = (small.frozen.user_id.shape[0], small.frozen.item_id.shape[0])
    ultragcn = UltraGCNLoss.from_interactions(small.interactions.users, small.interactions.items, *sizes)
    loss = {"softmax": SoftmaxLoss(), "bpr": BPRLoss(), "ultragcn": ultragcn}[name]
    found = []
    for data in (small, behind):
        source = torch.Generator().manual_seed(0)
        arguments = (data.frozen, data.interactions, data.labels, data.projection, loss)
        found.append(torch.block_diag(*learn_basis(*arguments, BLOCKS, source)))
        torch.testing.assert_close(found[-1].T @ found[-1], torch.eye(48), rtol=0, atol=1e-5)
    leading = [*range(6), *range(16, 22), *range(32, 38)]
    overlap = (found[0].T @ turn @ found[1]).abs()[:, leading].max(dim=0).values
    assert float(overlap.min()) > 0.99


def test_learned_axes_separate_what_a_rotation_has_mixed(recovery: Study) -> None:
    behind, turn = mixed(recovery)
    truth = torch.tensor(recovery.planted.all_truth)
    arguments = (behind.interactions, behind.labels)
    source = torch.Generator().manual_seed(0)
    basis = torch.block_diag(*learn_basis(behind.frozen, *arguments, behind.projection, SoftmaxLoss(), BLOCKS, source))
    kept = {}
    for name, axes in (("features", torch.eye(48)), ("learned", basis)):
        turned = replace(behind.frozen, features=behind.frozen.features @ axes)
        mask = generate(turned, *arguments, SoftmaxLoss(), torch.Generator().manual_seed(1), QUICK).mask
        directions = turn @ axes
        # what is left of the trained projection, column by column of the plain features
        left = ((recovery.projection @ directions * mask) @ directions.T).square().sum(dim=0)
        whole = recovery.projection.square().sum(dim=0)
        kept[name] = [float(left[truth == kind].sum() / whole[truth == kind].sum()) for kind in (1, 0)]
    assert kept["learned"][0] >= 0.8 and kept["learned"][1] <= 0.1
    assert kept["features"][0] < 0.7 and kept["features"][1] > 2 * kept["learned"][1]

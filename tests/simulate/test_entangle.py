from __future__ import annotations

import numpy as np
import pytest

from recbole_painvrl.simulate.entangle import latent_shares, random_rotation

TRUTH = np.array([1, 0, -1, 1])


def test_axes_along_plain_columns_are_of_one_kind_each() -> None:
    rotation = random_rotation(np.random.default_rng(0), 4)
    shares = latent_shares(rotation.T, rotation, TRUTH)
    assert shares[1] == pytest.approx([1, 0, 0, 1]) and shares[0] == pytest.approx([0, 1, 0, 0])


def test_shares_add_up_and_by_hand() -> None:
    half = np.sqrt(0.5)
    rotation = np.array([[half, half, 0, 0], [half, -half, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    shares = latent_shares(np.eye(4) * 3, rotation, TRUTH)
    assert shares[1] == pytest.approx([0.5, 0.5, 0, 1])
    assert sum(shares.values()) == pytest.approx(np.ones(4))


def test_rotations_are_uniform_enough_to_have_no_preferred_sign() -> None:
    draw = np.random.default_rng(0)
    corners = [random_rotation(draw, 3)[0, 0] for _ in range(400)]
    assert abs(np.mean(corners)) < 0.1

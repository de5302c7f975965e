"""Kind ``environment``: environments identified on all interactions with a quick reference model.

Letters: n interactions, U users, I items, D feature width, d width of the factorization, E environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.utils.extmath import randomized_svd

from recbole_painvrl.data.splits.table import Table
from recbole_painvrl.invariance import EnvironmentSettings, FrozenRecommender, Interactions, identify_environments
from recbole_painvrl.randomness import derive_seed, generator

WIDTH = 32
RIDGE = 0.01
JUDGED_ROWS = 1000
SHARPNESS = np.logspace(-1, 2, 13)  # in units of the scores' standard deviation


def find_environments(table: Table, features: NDArray[Any], n_environments: int, seed: int) -> NDArray[Any]:
    """Splits the interactions into environments, [n], each ranking by the features in its own way.

    The reference model is a truncated singular value decomposition of the interaction matrix, normalized by the degrees
    of users and items. A ridge regression of its item factors on the features makes their content part, the residual
    their identity part; together they score as the factorization does.

    Args:
        table: The interactions, of all sets.
        features: float32 [I, D].
        n_environments: E.
        seed: Seed of everything here.
    """
    frozen, projection = reference_model(table, features, derive_seed(seed, "ood_split:reference") % 2**32)
    found = identify_environments(
        frozen,
        Interactions(torch.from_numpy(table.users + 1), torch.from_numpy(table.items + 1)),
        projection,
        generator(seed, "ood_split:environment"),
        settings=EnvironmentSettings(n_environments=n_environments),
    )
    return found.labels.numpy()


def reference_model(table: Table, features: NDArray[Any], seed: int) -> tuple[FrozenRecommender, torch.Tensor]:
    """Returns the factorization as a frozen recommender with padding rows, and its projection [d, D]."""
    users, items = _factorize(table, seed)
    gram = features.T @ features
    gram[np.diag_indices_from(gram)] += RIDGE * np.trace(gram) / len(gram) + 1e-12
    projection = np.linalg.solve(gram.astype(np.float64), (features.T @ items).astype(np.float64)).T.astype(np.float32)
    users = users * _sharpness(table, users, items)
    residual = items - features @ projection.T
    content = torch.from_numpy(_padded(users))
    frozen = FrozenRecommender(
        content, content, torch.from_numpy(_padded(residual)), torch.from_numpy(_padded(features))
    )
    return frozen, torch.from_numpy(projection)


def _factorize(table: Table, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns factors of users [U, d] and items [I, d], float32."""
    shape = (table.n_users, table.n_items)
    users, items = table.users[table.first_rows], table.items[table.first_rows]
    degree_u, degree_i = np.bincount(users, minlength=shape[0]), np.bincount(items, minlength=shape[1])
    matrix = csr_matrix((1.0 / np.sqrt(degree_u[users] * degree_i[items]), (users, items)), shape=shape)
    width = min(WIDTH, min(shape) - 1)
    left, values, right = randomized_svd(matrix, max(1, width), random_state=seed)
    # Back from normalized degrees: an item is then scored by how likely it is, not by how likely for its popularity.
    by_item = np.sqrt(np.maximum(degree_i, 1))[:, None]
    return (left * values).astype(np.float32), (right.T * by_item).astype(np.float32)


def _sharpness(table: Table, users: NDArray[Any], items: NDArray[Any]) -> float:
    """Returns the factor under which a softmax over all items explains a sample of the interactions best."""
    rows = np.linspace(0, len(table) - 1, min(len(table), JUDGED_ROWS)).astype(np.int64)
    scores = torch.from_numpy(users[table.users[rows]] @ items.T)
    unit = 1 / max(float(scores.std()), 1e-12)
    own = torch.from_numpy(table.items[rows])
    losses = [float(torch.nn.functional.cross_entropy(unit * float(factor) * scores, own)) for factor in SHARPNESS]
    return unit * float(SHARPNESS[int(np.argmin(losses))])


def _padded(rows: NDArray[Any]) -> NDArray[Any]:
    """Puts a row of zeros before the others."""
    return np.concatenate([np.zeros((1, rows.shape[1]), dtype=np.float32), rows.astype(np.float32)])

"""Clusters of items by their features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from recbole_painvrl.errors import UserError


def join_blocks(blocks: list[NDArray[Any]]) -> NDArray[Any]:
    """Puts modalities side by side with equal say: each is centered and scaled to a total variance of 1.

    Args:
        blocks: Features of each modality, [I, D_m].

    Returns:
        float32 [I, D], D the sum of all D_m.
    """
    scaled = []
    for block in blocks:
        centered = block - block.mean(axis=0)
        total = float(np.sqrt((centered.astype(np.float64) ** 2).sum(axis=1).mean()))
        scaled.append(centered / total if total > 0 else centered)
    joined: NDArray[Any] = np.concatenate(scaled, axis=1).astype(np.float32)
    return joined


def cluster_items(features: NDArray[Any], n_clusters: int, seed: int) -> NDArray[Any]:
    """Clusters items by k-means, from four seeded starts.

    Args:
        features: float32 [I, D].
        n_clusters: Clusters to make.
        seed: Seed of the starts, below 2**32.

    Returns:
        Cluster of each item, int64 [I].

    Raises:
        UserError: There are fewer different items than clusters.
    """
    distinct = len(np.unique(features, axis=0))
    if distinct < n_clusters:
        raise UserError(f"ood_split.clusters: {n_clusters} clusters need as many items of different features, but "
                        f"there are {distinct}; lower clusters")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        labels: NDArray[Any] = KMeans(n_clusters, n_init=4, random_state=seed).fit(features).labels_.astype(np.int64)
        return labels

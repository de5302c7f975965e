"""What every recommender's test asks: does it learn the checkerboard, and do its tables come from its seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.model.models import build
from tests.model.test_fusion_recommender import share_of_own_parity, train


def learned_share(folder: Path, model: str, lr: float = 0.05, steps: int = 60, **keys: Any) -> float:
    """Returns the share of the user's own parity among the two best unseen items after ``steps`` epochs."""
    recommender, _, loader = build(folder, model, **keys)
    train(recommender, loader, steps, lr)
    return share_of_own_parity(recommender, loader, k=2)


def assert_the_seed_alone_decides(folder: Path, model: str, **keys: Any) -> None:
    """Same seed, same parameters, whatever the global generator; another seed, others."""
    torch.manual_seed(1)
    one, *_ = build(folder, model, **keys)
    torch.manual_seed(2)
    two, *_ = build(folder, model, **keys)
    three, *_ = build(folder, model, seed=7, **keys)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.user_embedding.weight, three.user_embedding.weight)


def assert_every_parameter_learns(folder: Path, model: str, **keys: Any) -> None:
    """Every parameter gets a gradient and is among those of the optimizer."""
    recommender, _, loader = build(folder, model, **keys)
    optimized = {id(parameter) for group in recommender.parameter_groups() for parameter in group["params"]}
    for batch in loader:
        recommender.calculate_loss(batch).backward()
    for name, parameter in recommender.named_parameters():
        assert id(parameter) in optimized, name
        assert parameter.grad is not None and bool(parameter.grad.any()), name


def dense_graph(model: Any, loader: Any) -> torch.Tensor:
    """Returns the interactions of users and items as a matrix [U + I, U + I] of zeros and ones."""
    pairs, graph = loader.dataset.inter_feat, torch.zeros(model.n_users + model.n_items, model.n_users + model.n_items)
    graph[pairs["user_id"], model.n_users + pairs["item_id"]] = 1.0
    return graph + graph.T

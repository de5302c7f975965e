"""The least time that the machine allows: memory traffic at full bandwidth, matrix product and top-k alone."""

from __future__ import annotations

import torch

from benchmarks.problem import N_NEGATIVES
from benchmarks.speed_parts import Stage, best
from benchmarks.step import Model

REPEATS, LARGE = 20, 64 * 2**20
ADAM_PASSES = 8  # parameter, gradient and two moments: the gradient is written and read, the others read and written


def _reading(numbers: torch.Tensor) -> float:
    """Returns the bytes a CPU second that a sum over ``numbers`` reads, which stay in the cache if they fit."""
    return numbers.nbytes * REPEATS / best(lambda: [numbers.sum() for _ in range(REPEATS)], 5)


def _copying() -> float:
    """Returns the bytes a CPU second read and written by a copy that fits no cache."""
    source = torch.ones(LARGE // 4)
    target = torch.empty_like(source)
    return 2 * source.nbytes * REPEATS / best(lambda: [target.copy_(source) for _ in range(REPEATS)], 5)


def step_at_full_bandwidth(model: Model, size: int) -> float:
    """Returns the seconds of the memory traffic of a training step of ``size`` rows with its negatives.

    Each sampled pair reads one vector for its score and one for each of the two gradients. The vectors are read at the
    bandwidth measured on a table as large as the items', which stays in the cache. Adam reads and writes parameters,
    gradients and moments at the bandwidth of a large copy, and the features are read for the product and its gradient.
    """
    items = model.items().detach()
    pairs = size * (1 + N_NEGATIVES)
    gathered = 3 * pairs * items.shape[1] * items.element_size()
    parameters = sum(parameter.nbytes for parameter in model.parameters())
    streamed = ADAM_PASSES * parameters + 2 * model.features.nbytes
    return gathered / _reading(items) + streamed / _copying()


def product_and_top(stage: Stage) -> float:
    """Returns the seconds of all users' scores and best items, with the widths and batches of the evaluation."""
    model, loader = stage.data.model, stage.data.valid
    with torch.no_grad():
        users, items = model.tables()
    wanted = users[loader.uid_list]
    depth = max(stage.config["topk"])

    def all_users() -> None:
        for batch in wanted.split(loader.step):
            (batch @ items.T).topk(depth, dim=1)

    return best(all_users)

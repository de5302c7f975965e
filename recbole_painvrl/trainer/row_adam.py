"""Adam for tables of which a step touches some rows: no gradient as large as the table is made.

Letters: n rows of a table, d its width, V touched rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

BLOCK_ELEMENTS = 1 << 18  # of a table, updated at a time: 1 MB in single precision, so that its gradient stays in cache


class RowAdam(torch.optim.Adam):
    """Torch's fused Adam, which also takes a sparse gradient of a table's touched rows and makes the same step of it.

    All rows move, as their moments and the weight decay want it, which sets it apart from torch's ``SparseAdam``. The
    gradient is spread out over one block of the table at a time. On a CPU a dense one costs two passes over memory as
    large as the table beside Adam's six, and leaves freed pieces of that size between others.

    Args:
        groups: Parameters or groups of them, as torch takes them.
        lr: Learning rate.

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__(groups, lr=lr, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Makes one step; tables with a sparse gradient after all others."""
        loss = closure() if closure else None
        sparse = [
            (group, table, table.grad)
            for group in self.param_groups
            for table in group["params"]
            if table.grad is not None and table.grad.is_sparse
        ]
        for _, table, _ in sparse:
            table.grad = None
        super().step()
        for group, table, gradient in sparse:
            self._step_rows(group, table, gradient.coalesce())
            table.grad = gradient
        return loss

    def _step_rows(self, group: dict[str, Any], table: Tensor, gradient: Tensor) -> None:
        """Updates a table [n, d] by the coalesced gradient of its touched rows, block by block."""
        state, size = self._state(table), max(1, BLOCK_ELEMENTS // table.shape[1])
        rows, values = gradient.indices()[0], gradient.values()
        starts = range(0, len(table), size)
        bounds = torch.searchsorted(rows, torch.tensor([*starts, len(table)], device=rows.device)).tolist()
        spread = torch.zeros_like(table[:size])
        for number, start in enumerate(starts):
            block, touched = slice(start, start + size), slice(bounds[number], bounds[number + 1])
            here, last = rows[touched] - start, state["step"].clone()
            part = spread[: len(table) - start]
            part.index_copy_(0, here, values[touched])
            _fused(group, table[block], part, state["exp_avg"][block], state["exp_avg_sq"][block], last)
            part.index_fill_(0, here, 0.0)
        state["step"] += 1

    def _state(self, table: Tensor) -> dict[str, Any]:
        """Returns the table's moments, under the names and of the types that torch gives them."""
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=table.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        return state


def _fused(group: dict[str, Any], block: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: Tensor) -> None:
    """Makes Adam's step on one block [n, d] in place; ``step`` counts the ones before."""
    beta1, beta2 = group["betas"]
    adam(
        [block],
        [gradient],
        [mean],
        [square],
        [],
        [step],
        fused=True,
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )

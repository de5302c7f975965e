"""Several processes that train one model: each computes its share of every batch, and all make the same step.

Every process builds the same data and the same model from the same seed and draws the same batches, so that nothing but
sums has to be exchanged: of losses, of gradients, and the lists of recommended items. Results are those of one process
with the same ``train_batch_size``, up to the rounding of sums whose terms are added in another order.

RecBole's way is another one: each process draws a batch of its own, evaluates users twice where they do not divide
evenly, and weighs a result by the length of a tuple.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from torch import Tensor, distributed
from torch.utils.data import BatchSampler

from recbole_painvrl.data.drawn_candidates import DrawnCandidatesLoader, cut
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.batch import Share, rows_of

# a stage that the first process computes alone may be long; whoever dies is noticed by its closed connection
PATIENCE = timedelta(days=7)
_GONE = re.compile("clos|reset|refused|peer|abort|time[d ]*out|broken pipe|timeout", re.IGNORECASE)

Value = TypeVar("Value")
Loss = Tensor | tuple[Tensor, ...]


class Lost(UserError):
    """Another process of the run has ended, so that this one cannot go on."""

    def __init__(self, what: str = "") -> None:
        super().__init__(f"another process of this run has ended before it was done{what}")


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, and which of them this one is.

    Attributes:
        rank: number of this process; 0 is the one that writes files and speaks.
        size: how many there are.
        local: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def from_main(self, value: Value) -> Value:
        """Returns the first process's ``value`` in all of them."""
        if self.size == 1:
            return value
        box = [value if self.main else None]
        with _together():
            distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def gathered(self, value: Value) -> list[Value]:
        """Returns the values of all processes, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _together():
            distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Waits until all processes are here."""
        self.gathered(None)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each contiguous tensor by its sum over the processes, the same to the last bit in all of them."""
        with _together():
            for work in [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]:
                work.wait()

    # training

    def shared(self, loss_func: Callable[[Any], Loss], model: torch.nn.Module) -> Callable[[Any], Loss]:
        """Returns a loss function of whole batches that computes this process's share of them.

        Its values are those of the whole batch, and so are the gradients that :attr:`model` has after ``backward``.
        """
        if self.size == 1:
            return loss_func
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

        def compute(batch: Any) -> Loss:
            part, weight = self.part(batch)
            losses = loss_func(part)
            parts = losses if isinstance(losses, tuple) else (losses,)
            total = _Total.apply(torch.stack([weight * loss for loss in parts]), self, parameters)
            return tuple(total.unbind()) if isinstance(losses, tuple) else total[0]

        return compute

    def part(self, batch: Any) -> tuple[Any, float]:
        """Returns this process's block of a batch's rows, and how much of the batch it is.

        A batch with fewer rows than there are processes is left to the first; the others look at a row for nothing.
        """
        n_rows = len(batch)
        if n_rows < self.size:
            rows, weight = (slice(0, n_rows), 1.0) if self.main else (slice(0, 1), 0.0)
        else:
            rows = rows_of(n_rows, self.rank, self.size)
            weight = (rows.stop - rows.start) / n_rows
        part = batch[rows]
        part.share = Share(batch, rows, weight, self.rank, self.size)
        return part, weight

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces the gradients by their sums over the processes."""
        found = [parameter for parameter in parameters if parameter.grad is not None]
        for parameter in found:
            assert parameter.grad is not None
            parameter.grad = parameter.grad.contiguous()
        self.add_up([parameter.grad for parameter in found if parameter.grad is not None])

    def check_equal(self, model: torch.nn.Module) -> None:
        """Makes sure that the parameters are the same to the last bit in all processes.

        Raises:
            UserError: They are not, as may happen between machines of different kinds.
        """
        if self.size == 1:
            return
        sums = [int(_bits(parameter.detach()).sum(dtype=torch.int64)) for parameter in model.parameters()]
        if any(other != sums for other in self.gathered(sums)):
            raise UserError("the processes' models have come apart; are their machines and libraries the same?")

    @contextmanager
    def whole_machine(self) -> Iterator[None]:
        """Gives this process the threads of all on this machine, which wait for it meanwhile."""
        threads = torch.get_num_threads()
        torch.set_num_threads(threads * self.local)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    # evaluation

    def splits(self, loader: Any) -> bool:
        """Returns whether an evaluation is shared out: its candidates are the same for any block of the users.

        Fewer users than processes are left to each of them, as RecBole evaluates no empty block.
        """
        by_users = isinstance(loader, (FullSortEvalDataLoader, DrawnCandidatesLoader))
        return self.size > 1 and by_users and loader.sample_size >= self.size

    def loader(self, loader: Any) -> Any:
        """Returns a loader of this process's block of the users; all blocks in a row are the order of one process."""
        if not self.splits(loader):
            return loader
        block = rows_of(loader.sample_size, self.rank, self.size)
        users, drawn = range(block.start, block.stop), isinstance(loader, DrawnCandidatesLoader)
        mine = copy.copy(loader)
        cut(mine, loader.batches(users) if drawn else BatchSampler(users, loader.step, drop_last=False))
        return mine


class _Total(torch.autograd.Function):
    """Sums of the processes' losses; once the backward pass is over, so are the gradients of the parameters."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor, ranks: Ranks, parameters: list[torch.nn.Parameter]) -> Tensor:
        ctx.ranks, ctx.parameters = ranks, parameters
        total = losses.detach().clone()
        ranks.add_up([total])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ranks, parameters = ctx.ranks, ctx.parameters
        # what torch's DistributedDataParallel uses too: it runs when the whole backward pass is done
        engine: Any = torch.autograd.Variable._execution_engine
        engine.queue_callback(lambda: ranks.add_gradients(parameters))
        return gradient, None, None


def _bits(values: Tensor) -> Tensor:
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return values.contiguous().view(kinds[values.element_size()])


@contextmanager
def _together() -> Iterator[None]:
    """Tells the end of another process from other errors of an exchange."""
    try:
        yield
    except RuntimeError as error:
        if not _GONE.search(str(error)):
            raise
        raise Lost from error


# which process this is


def ranks(config: Any) -> Ranks:
    """Returns the processes that a configuration has joined; one alone if it has joined none."""
    if (config["world_size"] or 1) <= 1:
        return Ranks()
    return Ranks(config["local_rank"] + config["offset"], config["world_size"], config["nproc"])


def place(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Returns RecBole's keys of this process's place among several, as ``torchrun`` tells it; {} if it is alone."""
    if int(environment.get("WORLD_SIZE", 1)) <= 1 or "LOCAL_RANK" not in environment:
        return {}
    rank, local = int(environment["RANK"]), int(environment["LOCAL_RANK"])
    return {
        "local_rank": local,
        "offset": rank - local,
        "world_size": int(environment["WORLD_SIZE"]),
        "nproc": int(environment.get("LOCAL_WORLD_SIZE", 1)),
        "ip": environment["MASTER_ADDR"],
        "port": environment["MASTER_PORT"],
    }


def check_processes(model_class: Any, nproc: int, on_gpu: bool) -> None:
    """Makes sure that several processes can train a model here.

    Raises:
        UserError: It is one of RecBole's own, or there are fewer GPUs than processes on this machine.
    """
    if not getattr(model_class, "loss_by_rows", False):
        raise UserError(
            f"--nproc: {model_class.__name__} is trained in one process only: several can give the result of one where "
            "the loss is a mean over the rows of a batch, which RecBole's own models do not promise"
        )
    if on_gpu and nproc > torch.cuda.device_count():
        raise UserError(
            f"--nproc: {nproc} processes need as many GPUs, but there are {torch.cuda.device_count()}; "
            "use fewer, or --use_gpu=False"
        )


def join(settings: Mapping[str, Any], on_gpu: bool) -> None:
    """Joins the processes that RecBole's keys tell of: gloo on the CPU, and nccl beside it on GPUs."""
    distributed.init_process_group(
        backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        rank=settings["local_rank"] + settings["offset"],
        world_size=settings["world_size"],
        init_method=f"tcp://{settings['ip']}:{settings['port']}",
        timeout=PATIENCE,
    )


def leave() -> None:
    """Leaves the processes that this one has joined, if it has."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()

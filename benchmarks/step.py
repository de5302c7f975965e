"""CPU time of one UltraGCN training step with projected item features: ours beside the two usual ways to write it.

Run ``python benchmarks/step.py``. It first checks that all ways compute the same loss and gradients on one batch, then
measures each in a process of its own (so that no setting of one reaches another), in turns, because other work on the
machine comes and goes. Numbers are interactions per second of one thread's CPU time, medians over the rounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.problem import N_NEGATIVES, TIKTOK_SHAPE, Batch, Problem, Source
from recbole_painvrl.allocator import keep_freed_memory
from recbole_painvrl.model.loss import ultragcn_loss, ultragcn_weights
from recbole_painvrl.randomness import generator

REPOSITORY = Path(__file__).resolve().parent.parent
ID_SIZE, FEATURE_SIZE = 64, 64
EMBEDDING_DECAY, PROJECTION_DECAY = 1e-4, 1e-2  # InvRL's, for a loss that sums over the batch


class Model(nn.Module):
    """User table, item table, projection of the features and the pair weights, the same for all ways."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        source = generator(0, "benchmark parameters")
        n_items, width = problem.features.shape

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=source) * 0.1)

        self.users, self.ids = normal(problem.n_users, ID_SIZE + FEATURE_SIZE), normal(n_items, ID_SIZE)
        self.projection, self.bias = normal(FEATURE_SIZE, width), nn.Parameter(torch.zeros(FEATURE_SIZE))
        self.register_buffer("features", problem.features)
        self.weights = ultragcn_weights(problem.user, problem.item, problem.n_users, n_items)

    def items(self) -> Tensor:
        """Returns all item vectors [I, d]: the id part, then the projected features."""
        return torch.cat([self.ids, functional.linear(self.features, self.projection, self.bias)], dim=1)

    def embeddings(self) -> list[nn.Parameter]:
        """Returns the parameters with the embeddings' decay."""
        return [self.users, self.ids]

    def layer(self) -> list[nn.Parameter]:
        """Returns the parameters with the projection's decay."""
        return [self.projection, self.bias]

    def penalty(self) -> Tensor:
        """Returns the regularizer over whole tables, which goes with a loss that sums over the batch."""
        tables = EMBEDDING_DECAY * sum(parameter.square().sum() for parameter in self.embeddings())
        return tables + PROJECTION_DECAY * sum(parameter.square().sum() for parameter in self.layer())

    def groups(self, size: int) -> list[dict]:
        """Returns optimizer groups whose coupled decay is the penalty's gradient for the mean over ``size`` rows."""
        return [
            {"params": self.embeddings(), "weight_decay": 2 * EMBEDDING_DECAY / size},
            {"params": self.layer(), "weight_decay": 2 * PROJECTION_DECAY / size},
        ]


class Way:
    """One way to write the step: loss, optimizers, and whether a gradient still lacks the decay."""

    decay_in_optimizer = True

    def __init__(self, problem: Problem, size: int) -> None:
        self.model, self.size = Model(problem), size
        self.optimizers = self.make_optimizers()

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Returns the optimizers of the step."""
        return [torch.optim.Adam(self.model.groups(self.size), lr=1e-3)]

    def loss(self, batch: Batch) -> Tensor:
        """Returns the loss that is differentiated."""
        raise NotImplementedError

    def step(self, batch: Batch) -> None:
        """Takes one training step."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.loss(batch).backward()
        for optimizer in self.optimizers:
            optimizer.step()


def gathered_losses(model: Model, batch: Batch) -> Tensor:
    """Returns the loss of each row [B] by gathering a vector [1 + N, d] for each of its items."""
    user, positive, negatives = batch
    item = torch.cat([positive.unsqueeze(1), negatives], dim=1)
    gathered = functional.embedding(item, model.items())  # its gradient is cheaper than that of indexing
    scores = torch.bmm(gathered, functional.embedding(user, model.users).unsqueeze(2)).squeeze(2)
    targets = torch.zeros_like(scores)
    targets[:, 0] = 1.0
    losses = functional.binary_cross_entropy_with_logits(
        scores, targets, weight=model.weights(user, item), reduction="none"
    )
    return losses[:, 0] + losses[:, 1:].mean(dim=1)


class Plain(Way):
    """As the papers' programs go about it: sums, regularizer over whole tables in the graph, two optimizers."""

    decay_in_optimizer = False

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Returns one optimizer for the embeddings and one for the projection."""
        return [torch.optim.Adam(group, lr=1e-3) for group in (self.model.embeddings(), self.model.layer())]

    def loss(self, batch: Batch) -> Tensor:
        """Returns the sum over the batch plus the regularizer."""
        return gathered_losses(self.model, batch).sum() + self.model.penalty()


class Gather(Way):
    """A mean by gathering and autograd, the decay in one default Adam."""

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch."""
        return gathered_losses(self.model, batch).mean()


class Ours(Way):
    """The package's loss, the decay in one fused Adam."""

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Returns one fused optimizer."""
        return [torch.optim.Adam(self.model.groups(self.size), lr=1e-3, fused=True)]

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch."""
        return ultragcn_loss(self.model.users, self.model.items(), *batch, self.model.weights)


@dataclass(frozen=True)
class Contender:
    """A row of the table."""

    label: str
    way: type[Way]
    size: int
    keeps_memory: bool


CONTENDERS = {
    "a": Contender("(a) gather, penalty in the graph, two optimizers", Plain, 512, False),
    "b": Contender("(b) gather + bmm, one Adam", Gather, 8192, False),
    "b+": Contender("(b+) the same, freed memory kept", Gather, 8192, True),
    "c-": Contender("(c-) this package, allocator untouched", Ours, 8192, False),
    "c": Contender("(c) this package, freed memory kept", Ours, 8192, True),
}


def totals(way: Way, batch: Batch) -> tuple[float, list[Tensor]]:
    """Returns loss and gradients in the papers' scale: a sum over the batch plus the regularizer."""
    way.model.zero_grad()
    loss = way.loss(batch)
    loss.backward()
    if not way.decay_in_optimizer:
        return loss.item(), [parameter.grad.clone() for parameter in way.model.parameters()]
    gradients = []
    for group in way.model.groups(len(batch[0])):
        gradients += [len(batch[0]) * (p.grad + group["weight_decay"] * p.detach()) for p in group["params"]]
    return (len(batch[0]) * loss + way.model.penalty()).item(), gradients


def check_equality(problem: Problem, size: int = 2048) -> dict[str, float]:
    """Returns the largest difference between the ways in loss and gradients, relative to the largest entry.

    Raises:
        AssertionError: If one is above 1e-4.
    """
    batch = next(problem.batches(size, 1))
    loss, gradients = totals(Plain(problem, size), batch)
    found = {}
    for way in (Gather, Ours):
        other_loss, others = totals(way(problem, size), batch)
        found[f"{way.__name__} loss"] = abs(other_loss - loss) / abs(loss)
        for name, ours, theirs in zip(("users", "ids", "projection", "bias"), others, gradients, strict=True):
            found[f"{way.__name__} {name}"] = float((ours - theirs).abs().max() / theirs.abs().max())
    wrong = {name: value for name, value in found.items() if not value < 1e-4}
    assert not wrong, f"loss or gradients differ: {wrong}"
    return found


_ready: list[tuple[Way, Iterator[Batch]]] = []


def prepare(key: str, make_problem: Callable[[], Problem]) -> None:
    """Sets one process up for one row of the table."""
    torch.set_num_threads(1)
    contender = CONTENDERS[key]
    if contender.keeps_memory:
        keep_freed_memory()
    problem = make_problem()
    _ready[:] = [(contender.way(problem, contender.size), problem.batches(contender.size))]


def measure(seconds: float) -> float:
    """Returns the interactions per CPU-second of steps that take ``seconds`` of it together."""
    way, batches = _ready[0]
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        batch = next(batches)
        way.step(batch)
        done += len(batch[0])
    return done / (time.process_time() - start)


def rates(make_problem: Callable[[], Problem], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Measures all contenders in turns, after one round that does not count."""
    context = multiprocessing.get_context("spawn")
    pools = {
        key: ProcessPoolExecutor(1, mp_context=context, initializer=prepare, initargs=(key, make_problem))
        for key in CONTENDERS
    }
    try:
        found = [
            {key: pool.submit(measure, seconds).result() for key, pool in pools.items()} for _ in range(rounds + 1)
        ]
    finally:
        for pool in pools.values():
            pool.shutdown()
    return {key: [one[key] for one in found[1:]] for key in CONTENDERS}


def table(found: dict[str, list[float]], title: str) -> str:
    """Returns the Markdown table; ratios are medians of each round's ratio, which drifts hardly touch."""
    lines = [
        f"# UltraGCN training step, {title}",
        "",
        f"{N_NEGATIVES} negatives, {ID_SIZE} + {FEATURE_SIZE} wide, one thread, medians of {len(found['c'])} rounds.",
        "",
        "| step | batch | interactions per CPU-second | microseconds each | (c) is faster by |",
        "|---|---|---|---|---|",
    ]
    for key, contender in CONTENDERS.items():
        rate = statistics.median(found[key])
        ratio = statistics.median(ours / theirs for ours, theirs in zip(found["c"], found[key], strict=True))
        lines.append(f"| {contender.label} | {contender.size} | {rate:,.0f} | {1e6 / rate:.1f} | {ratio:.1f} |")
    return "\n".join(lines) + "\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "tiktok", help="real data")
    parser.add_argument("--shape", type=int, nargs=3, default=TIKTOK_SHAPE, help="users, items, pairs without data")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "results" / "step.md", help="Markdown table")
    parser.add_argument("--rounds", type=int, default=7, help="0 checks the equality only")
    parser.add_argument("--seconds", type=float, default=1.5, help="CPU time of a measurement")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks, measures, prints and writes the table."""
    torch.set_num_threads(1)
    options = parse(arguments)
    source = Source(options.data, tuple(options.shape))
    problem = source()
    for name, difference in check_equality(problem).items():
        print(f"largest relative difference, {name}: {difference:.1e}")
    if options.rounds:
        text = table(rates(source, options.rounds, options.seconds), problem.name)
        print(text)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

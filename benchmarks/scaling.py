"""How CPU seconds and memory of the method's parts grow with each size of the data, with fitted exponents.

    python -m benchmarks.scaling --output results/scaling.md

One size at a time is doubled from a base; each place is measured in a forked process of its own. An exponent is the
slope of a straight line through the logarithms; parts that a size hardly touches have exponents near 0. Memory is the
growth of the process's peak over what it began with.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import linear_regression
from typing import Any

import torch
from torch import Tensor

from benchmarks.command_line import write
from benchmarks.many_runs import markdown
from recbole_painvrl.invariance import (
    EnvironmentSettings,
    FrozenRecommender,
    Interactions,
    MaskSettings,
    SoftmaxLoss,
    generate_mask,
    identify_environments,
)
from recbole_painvrl.model.loss import ultragcn_loss
from recbole_painvrl.randomness import generator
from recbole_painvrl.report.style import house_style, look, new_figure

WIDTH, BATCH, USER_HAS, TOP = 32, 4096, 20, 20
LIMIT = 1.1


@dataclass(frozen=True)
class Sizes:
    """A place in the space of sizes."""

    interactions: int = 40_000
    items: int = 4_000
    features: int = 128
    environments: int = 4
    negatives: int = 32


class Problem:
    """Random interactions and tables of these sizes."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.source = sizes, generator(0, "scaling")
        self.n_users = sizes.interactions // USER_HAS
        self.user = torch.randint(1, self.n_users + 1, (sizes.interactions,), generator=self.source)
        self.item = torch.randint(1, sizes.items + 1, (sizes.interactions,), generator=self.source)
        self.features = self._normal(sizes.items + 1, sizes.features)
        self.users, self.ids = self._normal(self.n_users + 1, 2 * WIDTH), self._normal(sizes.items + 1, WIDTH)
        self.projection = self._normal(WIDTH, sizes.features)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.source) * 0.1

    def frozen(self) -> FrozenRecommender:
        return FrozenRecommender(self.users, self.users[:, WIDTH:], self.ids_with_content(), self.features)

    def ids_with_content(self) -> Tensor:
        return torch.cat([self.ids, torch.zeros(len(self.ids), WIDTH)], dim=1)

    def pairs(self) -> Interactions:
        return Interactions(self.user, self.item)


def epoch(problem: Problem) -> None:
    """One epoch of training with Adam."""
    parameters = [table.requires_grad_() for table in (problem.users, problem.ids, problem.projection)]
    optimizer = torch.optim.Adam(parameters, fused=True)
    for rows in torch.randperm(len(problem.user), generator=problem.source).split(BATCH):
        shape = len(rows), problem.sizes.negatives
        negatives = torch.randint(1, len(problem.ids), shape, generator=problem.source)
        items = torch.cat([problem.ids, problem.features @ problem.projection.T], dim=1)
        optimizer.zero_grad()
        ultragcn_loss(problem.users, items, problem.user[rows], problem.item[rows], negatives).backward()
        optimizer.step()


def identification(problem: Problem, method: str = "spectral") -> None:
    """One search for environments of single interactions (spectral), or two rounds of clustering users."""
    settings = EnvironmentSettings(problem.sizes.environments, method, max_iter=2, fit_steps=5)
    groups = None if method == "spectral" else problem.user
    identify_environments(problem.frozen(), problem.pairs(), problem.projection, problem.source, groups, settings)


def mask(problem: Problem) -> None:
    """Ten steps of the search for a mask."""
    labels = torch.arange(len(problem.user)) % problem.sizes.environments
    settings = MaskSettings(steps=10, batch_size=256, n_candidates=problem.sizes.negatives, tolerance=0.0)
    generate_mask(problem.frozen(), problem.pairs(), labels, SoftmaxLoss(), problem.source, settings)


def evaluation(problem: Problem) -> None:
    """The best items of 500 users."""
    items = torch.cat([problem.ids, problem.features @ problem.projection.T], dim=1)
    for users in problem.users[1:501].split(64):
        (users @ items.T).topk(TOP, dim=1)


PARTS: dict[str, Callable[[Problem], None]] = {
    "training epoch": epoch,
    "identification, spectral": identification,
    "identification, clustering": lambda problem: identification(problem, "clustering"),
    "mask": mask,
    "evaluation": evaluation,
}


def _measure(sizes: Sizes, part: str, repeats: int, sender: Any) -> None:
    torch.set_num_threads(1)
    before, seconds = _peak(), []
    for _ in range(repeats):
        problem = Problem(sizes)
        started = time.process_time()
        PARTS[part](problem)
        seconds.append(time.process_time() - started)
    sender.send((min(seconds), _peak() - before))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(sizes: Sizes, part: str, repeats: int = 2) -> tuple[float, float]:
    """Returns CPU seconds, the least of a few, and bytes of one part in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sizes, part, repeats, sender))
    process.start()
    sender.close()
    found = receiver.recv()
    process.join()
    return found


def exponent(places: list[float], values: list[float]) -> float:
    """Returns the slope of the logarithms."""
    return linear_regression([math.log(place) for place in places], [math.log(max(v, 1e-9)) for v in values]).slope


def picture(found: dict[tuple[str, str], list[tuple[float, float, float]]], path: Path) -> None:
    """Draws seconds against each size, one panel a size."""
    names = [one.name for one in fields(Sizes)]
    with house_style():
        figure, axes = new_figure(2.6 * len(names), 2.8, 1, len(names))
        for panel, name in zip(axes[0], names, strict=True):
            for position, part in enumerate(PARTS):
                rows, how = found[part, name], look(position)
                panel.plot([row[0] for row in rows], [row[1] for row in rows], color=how.color, marker=how.marker,
                           linestyle=how.line, label=part)  # fmt: skip
            panel.set(xscale="log", yscale="log", xlabel=name)
            panel.minorticks_off()
            panel.set_xticks([row[0] for row in found["mask", name]], [f"{row[0]:,}" for row in found["mask", name]],
                             rotation=45)  # fmt: skip
        axes[0][0].set_ylabel("CPU seconds")
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PARTS))
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def main(argv: list[str] | None = None) -> None:
    """Measures all parts and writes table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", default="1,2,4,8", help="multiples of the base, comma-separated")
    parser.add_argument("--divide", type=int, default=1, metavar="N", help="an N-th of interactions and items")
    parser.add_argument("--output", type=Path, required=True, help="the table; the picture goes beside it as .svg")
    given = parser.parse_args(argv)
    factors, standard = [int(part) for part in given.factors.split(",")], Sizes()
    base = replace(standard, interactions=standard.interactions // given.divide, items=standard.items // given.divide)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for part in PARTS:
        for name in (one.name for one in fields(Sizes)):
            places = [replace(base, **{name: getattr(base, name) * factor}) for factor in factors]
            found[part, name] = [(getattr(place, name), *measured(place, part)) for place in places]
    rows = []
    for (part, name), values in found.items():
        places, seconds, memory = (list(column) for column in zip(*values, strict=True))
        slopes = exponent(places, seconds), exponent(places, memory)
        texts = [", ".join(f"{value:.2f}" for value in seconds), f"{slopes[0]:.2f}"]
        texts += [", ".join(f"{value / 1e6:.0f}" for value in memory), f"{slopes[1]:.2f}"]
        rows.append([part, name, *texts, "yes" if max(slopes) <= LIMIT else "no"])
    sizes = ", ".join(f"{one.name} {getattr(base, one.name):,}" for one in fields(Sizes))
    header = ["part", "size", "CPU seconds", "exponent", "memory MB", "exponent", f"at most {LIMIT}"]
    text = f"# Growth of cost\n\nBase: {sizes}; each times {given.factors}. One thread.\n\n" + markdown(header, rows)
    write(given.output, text)
    picture(found, given.output.with_suffix(".svg"))
    print(text)


if __name__ == "__main__":
    main()

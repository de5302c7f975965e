"""Time of every stage on one data set: ours, a plain way to do the same, and what the machine allows at best.

    python -m benchmarks.speed --dataset tiktok --output results/speed.md

Everything is CPU time of one thread, the best of a few repetitions, measured in one run, so that ratios hold where the
seconds do not. Plain ways are RecBole's own classes, and for the training step what the papers describe, written anew
(``benchmarks/step.py``). ``--no-training`` leaves out the last line, which trains two models to their early stops.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from recbole.data.dataloader import NegSampleEvalDataLoader

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run
from benchmarks.problem import N_NEGATIVES, Problem
from benchmarks.speed_limits import product_and_top, step_at_full_bandwidth
from benchmarks.speed_parts import Stage, best, feature_loading, problem_of, stock_evaluation, stock_loader
from benchmarks.step import CONTENDERS, Model, check_equality, rates
from recbole_painvrl.allocator import keep_freed_memory

DRAWN = {"eval_args": {"mode": "uni100"}}
HEADER = ("what", "ours", "beside it", "seconds", "beside / ours", "goal", "reached")


@dataclass(frozen=True)
class Line:
    """A line of the table: our seconds and those of something beside it, with what their ratio should be.

    ``least`` is the ratio beside / ours that is wanted; below 1 it allows ours to take longer. None wants nothing.
    """

    what: str
    ours: float
    beside: str
    seconds: float
    least: float | None = None

    @property
    def cells(self) -> list[str]:
        """The line as text."""
        ratio = self.seconds / self.ours
        goal = "" if self.least is None else f">= {self.least:.3g}"
        reached = "" if self.least is None else "yes" if ratio >= self.least else "no"
        return [self.what, _seconds(self.ours), self.beside, _seconds(self.seconds), f"{ratio:.3g}", goal, reached]


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value * 1e3:.3g} ms"


def step_lines(problem: Callable[[], Problem], rounds: int, seconds: float) -> Iterator[Line]:
    """Yields the training step beside the papers' way, and beside the memory traffic that it cannot avoid."""
    check_equality(problem())
    found = rates(problem, rounds, seconds)
    size = CONTENDERS["c"].size
    ours, plain = (size / median(found[key]) for key in ("c", "a"))
    what = f"training step, {size} interactions, {N_NEGATIVES} negatives"
    yield Line(what, ours, "papers' way: gather, penalty in the graph, two optimizers", plain, 20)
    yield Line(
        what, ours, "its memory traffic at full bandwidth", step_at_full_bandwidth(Model(problem()), size), 1 / 3
    )


def loading_lines(ultragcn: Stage, painvrl: Stage) -> Iterator[Line]:
    """Yields loading of an epoch's batches and of the features, beside RecBole's."""
    loader, theirs = ultragcn.data.train, stock_loader(ultragcn)
    what = f"an epoch's batches, {loader.n_negatives} negatives"
    yield Line(what, best(lambda: deque(loader, 0)), "RecBole's loader", best(lambda: deque(theirs, 0), 1))
    with tempfile.TemporaryDirectory() as folder:
        of_npy, of_text = feature_loading(painvrl, Path(folder))
    yield Line("reading the features", of_npy, "RecBole's, from atomic text", of_text)


def evaluation_lines(stage: Stage) -> Iterator[Line]:
    """Yields full-sort evaluation of the validation set, beside RecBole's own and beside product and top-k alone."""
    ours = best(lambda: stage.trainer.evaluate(stage.data.valid, load_best_model=False))
    yield Line("full-sort evaluation", ours, "RecBole's trainer, loader and collector", stock_evaluation(stage), 10)
    yield Line("full-sort evaluation", ours, "matrix product and top-k alone", product_and_top(stage), 1 / 2)


def drawn_lines(stage: Stage) -> Iterator[Line]:
    """Yields evaluation of the validation set on drawn candidates, beside RecBole's own."""
    ours = best(lambda: stage.trainer.evaluate(stage.data.valid, load_best_model=False))
    theirs = stock_evaluation(stage, NegSampleEvalDataLoader)
    yield Line("evaluation, 100 drawn candidates", ours, "RecBole's trainer, loader and collector", theirs)


def stage_lines(ultragcn: Stage, painvrl: Stage) -> Iterator[Line]:
    """Yields the method's two searches beside an epoch of UltraGCN."""
    train, rounds = painvrl.data.train.dataset, painvrl.trainer.rounds
    epoch = best(lambda: ultragcn.trainer._train_epoch(ultragcn.data.train, 0))
    for method in ("spectral", "clustering"):
        rounds.environment_settings = painvrl.environment_settings(method)
        seconds = best(lambda: rounds.identify(0, train, False), 2)
        what = f"identification, {painvrl.config['n_environments']} environments, {method}"
        yield Line(what, seconds, "an epoch of UltraGCN", epoch, 1 / 3)
    seconds = best(lambda: rounds.generate_mask(0, train, False), 2)
    yield Line(f"mask, {painvrl.config['mask_steps']} steps", seconds, "an epoch of UltraGCN", epoch)


def _trained(settings: dict[str, Any]) -> float:
    return best(lambda: run(settings), 1)


def training_line(base: dict[str, Any]) -> Line:
    """Returns whole runs of PaInvRL and UltraGCN to their early stops, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool,
    ):
        settings = [{**base, "model": model, "output_dir": folder} for model in ("PaInvRL", "UltraGCN")]
        ours, theirs = pool.map(_trained, settings)
    return Line("PaInvRL from data to results", ours, "UltraGCN the same", theirs, 1 / 4)


def main(argv: list[str] | None = None) -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="tiktok")
    add_keys(parser, "models")
    parser.add_argument("--rounds", type=int, default=5, help="of the training step")
    parser.add_argument("--seconds", type=float, default=1.5, help="CPU time of a measurement of the training step")
    parser.add_argument("--no-training", dest="training", action="store_false")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    keep_freed_memory()
    base: dict[str, Any] = {"dataset": given.dataset, "show_progress": False, "seed": 1}
    base |= given_keys(given)
    with tempfile.TemporaryDirectory() as folder:
        ultragcn, painvrl = (Stage.of(model, base, folder) for model in ("UltraGCN", "PaInvRL"))
        drawn = Stage.of("UltraGCN", {**base, **DRAWN}, folder)
        lines = [*step_lines(problem_of(painvrl), given.rounds, given.seconds), *loading_lines(ultragcn, painvrl)]
        lines += [*evaluation_lines(ultragcn), *drawn_lines(drawn), *stage_lines(ultragcn, painvrl)]
    if given.training:
        lines.append(training_line(base))
    train = ultragcn.data.train.dataset
    head = (
        f"# Speed, {given.dataset}\n\n{train.user_num - 1:,} users, {train.item_num - 1:,} items, {len(train):,} "
        "training interactions. CPU time of one thread, best of a few; a goal below 1 allows ours to take longer.\n\n"
    )
    write(given.output, head + markdown(HEADER, [line.cells for line in lines]))
    print(given.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

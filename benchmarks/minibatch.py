"""How near the mask of minibatches comes to the mask of full batches, for each way to estimate the penalty.

Run ``python benchmarks/minibatch.py``. On simulated data with given environments every setting's mask is compared with
the one found on all interactions and all items (mean absolute difference over the columns), for several seeds. Ways
that share batch and candidates cost the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recbole_painvrl.files import atomic_file
from recbole_painvrl.invariance import MaskSettings, SoftmaxLoss, generate_mask
from tests.invariance.pretrained import Study, study
from tests.planted import area_under_curve

REPOSITORY = Path(__file__).resolve().parent.parent
SIZES = ((256, 64), (256, 256), (1024, 64), (1024, 256))  # interactions of each environment, candidates
WAYS = (("batch", 0.9), ("average", 0.9), ("average", 0.97), ("unbiased", 0.9), ("unbiased", 0.97))
FULL = MaskSettings(batch_size=None, n_candidates=None)


@dataclass(frozen=True)
class Found:
    """One mask: its distance from the full batches' mask, what it says of the truth, and its CPU seconds."""

    difference: float
    invariant: float
    spurious: float
    curve: float
    seconds: float


def search(data: Study, settings: MaskSettings) -> tuple[np.ndarray, float]:
    """Returns the mask [D] and the CPU seconds that it took."""
    start, source = time.process_time(), torch.Generator().manual_seed(1)
    mask = generate_mask(data.frozen, data.interactions, data.labels, SoftmaxLoss(), source, settings).mask
    return mask.numpy(), time.process_time() - start


def judged(data: Study, mask: np.ndarray, full: np.ndarray, seconds: float) -> Found:
    """Returns the figures of one mask [D]."""
    truth = data.planted.all_truth
    kinds = [float(mask[truth == kind].mean()) for kind in (1, 0)]
    return Found(float(np.abs(mask - full).mean()), *kinds, area_under_curve(mask, truth), seconds)


def settings_of(sizes: tuple[int, int], way: tuple[str, float]) -> MaskSettings:
    """Returns the package's settings at these sizes and with this way to estimate."""
    return MaskSettings(batch_size=sizes[0], n_candidates=sizes[1], estimate=way[0], smoothing=way[1])


def rows(recipe: str, seeds: int) -> Iterator[str]:
    """Yields the lines of one recipe's table."""
    studies = [study(recipe, seed) for seed in range(seeds)]
    full = [search(data, FULL) for data in studies]
    yield line("all", "all", "full batch", [judged(d, m, m, s) for d, (m, s) in zip(studies, full, strict=True)])
    for sizes in SIZES:
        for way in WAYS:
            found = [search(data, settings_of(sizes, way)) for data in studies]
            results = [judged(d, m, f, s) for d, (m, s), (f, _) in zip(studies, found, full, strict=True)]
            name = way[0] if way[0] == "batch" else f"{way[0]}, smoothing {way[1]}"
            yield line(*map(str, sizes), name, results)


def line(batch: str, candidates: str, way: str, results: list[Found]) -> str:
    """Returns a row of the table: means over the seeds, and the worst seed's difference."""
    columns = {name: [getattr(one, name) for one in results] for name in Found.__dataclass_fields__}
    means = {name: float(np.mean(values)) for name, values in columns.items()}
    return (
        f"| {batch} | {candidates} | {way} | {means['difference']:.3f} | {max(columns['difference']):.3f} "
        f"| {means['invariant']:.3f} | {means['spurious']:.3f} | {means['curve']:.3f} | {means['seconds']:.1f} |"
    )


HEAD = """
## {recipe}, {seeds} seeds

| interactions an environment | candidates | estimate | difference | worst seed | invariant | spurious | AUC | CPU s |
|---|---|---|---|---|---|---|---|---|
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["R1", "RB"], help="simulated data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 2], help="number of seeds of each recipe")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "results" / "minibatch.md", help="Markdown table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the tables."""
    torch.set_num_threads(1)
    options = parse(arguments)
    command = " ".join(["python benchmarks/minibatch.py", *(sys.argv[1:] if arguments is None else arguments)])
    text = (
        "# Masks of minibatches beside those of full batches\n\n"
        f"Made by `{command}`. Given environments, the package's defaults but for the columns of "
        "the table; difference: mean absolute difference from the full batches' mask.\n"
    )
    for recipe, seeds in zip(options.recipes, options.seeds, strict=True):
        text += HEAD.format(recipe=recipe.lower(), seeds=seeds)
        for row in rows(recipe, seeds):
            print(row, flush=True)
            text += row + "\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(options.output) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()

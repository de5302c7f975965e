"""Training, evaluation and the method's two searches on a GPU beside the CPU, single, mixed and compiled.

    python -m benchmarks.gpu --dataset tiktok --output results/gpu.md

A few minutes on a machine with a GPU; without one the table has the CPU alone. Wall seconds, the device waited for
before and after each part; the first epochs do not count. ``mixed`` is ``enable_amp``, ``compiled`` puts
``torch.compile`` around the loss. The validation score after the same epochs from the same seed says whether mixed
precision costs any quality. ``recbole-painvrl simulate`` makes data where there are none.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown
from benchmarks.speed_parts import Stage
from recbole_painvrl.allocator import keep_freed_memory

HEADER = ("model", "device", "how", "step ms", "epoch s", "evaluation s", "identification s", "mask s",
          "peak GPU MB", "validation NDCG@20")  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {"single": {}, "mixed": {"enable_amp": True}, "compiled": {}}
FIRST = 2  # epochs that do not count: kernels are chosen, compiled and loaded there, memory is taken


def timed(device: torch.device, part: Callable[[], object]) -> float:
    """Returns the wall seconds of a part, to the end of what it has launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = perf_counter()
    part()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - started


def row(model: str, way: str, base: dict[str, Any], epochs: int) -> list[str]:
    """Trains a model for some epochs on the device that its configuration names, and returns its line."""
    with tempfile.TemporaryDirectory() as folder:
        return _row(Stage.of(model, {**base, **WAYS[way]}, folder), model, way, epochs)


def _row(stage: Stage, model: str, way: str, epochs: int) -> list[str]:
    device, train, trainer = stage.config["device"], stage.data.train, stage.trainer
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if model == "PaInvRL":
        trainer.model.begin_final()  # most epochs are of this stage
    if way == "compiled":
        trainer.model.calculate_loss = torch.compile(trainer.model.calculate_loss, dynamic=True)
    seconds = [timed(device, lambda epoch=epoch: trainer._train_epoch(train, epoch)) for epoch in range(epochs + FIRST)]
    epoch = median(seconds[FIRST:])
    found: dict[str, float] = {}
    trainer.evaluate(stage.data.valid, load_best_model=False)
    evaluation = timed(device, lambda: found.update(trainer.evaluate(stage.data.valid, load_best_model=False)))
    searches = ["", ""]
    if model == "PaInvRL":
        parts = (trainer.rounds.identify, trainer.rounds.generate_mask)
        searches = [f"{timed(device, lambda part=part: part(0, train.dataset, False)):.2f}" for part in parts]
    peak = f"{torch.cuda.max_memory_allocated(device) / 1e6:,.0f}" if device.type == "cuda" else ""
    times = [f"{1e3 * epoch / len(train):.2f}", f"{epoch:.2f}", f"{evaluation:.2f}"]
    return [model, device.type, way, *times, *searches, peak, f"{found['ndcg@20']:.4f}"]


def machine() -> str:
    """Returns the names of the devices."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{gpu}; CPU: {torch.get_num_threads()} threads, {platform.machine()}; torch {torch.__version__}"


def main(argv: list[str] | None = None) -> None:
    """Measures and writes the table, after each line anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="tiktok")
    parser.add_argument("--models", default="UltraGCN,ERM,PaInvRL,MGCN,BM3", help="comma-separated")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated")
    parser.add_argument("--devices", default="cuda,cpu", help="comma-separated")
    parser.add_argument("--epochs", type=int, default=5)
    add_keys(parser, "models")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(argv)
    keep_freed_memory()
    base: dict[str, Any] = {"dataset": given.dataset, "show_progress": False, "seed": 1}
    base |= given_keys(given)
    rows: list[list[str]] = []
    head = (
        f"# GPU, {given.dataset}\n\n{machine()}. Wall seconds; an epoch's are the median of {given.epochs} after "
        f"{FIRST} that do not count.\n\n"
    )
    for device in given.devices.split(","):
        if device == "cuda" and not torch.cuda.is_available():
            continue
        for model, way in product(given.models.split(","), given.ways.split(",")):
            if device == "cpu" and way == "compiled":
                continue  # which takes a compiler and minutes
            rows.append(row(model, way, {**base, "use_gpu": device == "cuda"}, given.epochs))
            write(given.output, head + markdown(HEADER, rows))
    print(given.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

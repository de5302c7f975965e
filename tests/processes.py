"""Runs of one process and of several, in children that have everything imported already."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_painvrl import cli, experiment
from tests.endings import SECONDS, started
from tests.inputs import write_checkerboard

SIZES = {"embedding_size": 8, "feature_size": 4, "train_batch_size": 100, "epochs": 2, "metric_decimal_place": 10}
# not Adam, which divides a gradient by its own size: where that is nothing but rounding (a bias that a softmax does not
# feel), the last bits of a sum decide the step
PLAIN = {"learner": "sgd", "learning_rate": 0.5}
ROUNDS = {"warmup_epochs": 2, "n_rounds": 2, "n_environments": 2, "env_max_iter": 3, "mask_steps": 4, "epochs": 4}


def words(data: Path, model: str, **keys: Any) -> list[str]:
    """Returns the command line of a run on a checkerboard, but for ``output_dir``."""
    if not (data / "board").exists():
        write_checkerboard(data)
    settings = {
        "data_path": str(data),
        "benchmark_filename": ["train", "valid", "test", "test_ood"],
        "load_col": {"inter": ["user_id", "item_id", "session_id", "environment"], "item": ["item_id"]},
        **{"show_progress": False, "use_gpu": False, **SIZES, **keys},
    }
    said = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return ["-m", model, "-d", "board", *(f"--{key}={value}" for key, value in said.items())]


def in_double_precision() -> None:
    """Makes the models of this process compute with 64 bits, so that rounding is far from what a fault would do."""
    prepare = experiment.prepare

    def prepared(config: Any) -> Any:
        data = prepare(config)
        data.model.double()
        return data

    experiment.prepare = prepared


def together(
    size: int, arguments: list[str], folder: Path, prepare: Callable[[int], object] = lambda rank: None
) -> list[int]:
    """Runs a command in ``size`` processes that know their places as ``torchrun`` tells them; returns their statuses.

    ``prepare`` is called in each with its number; output goes to ``folder/output.<number>``.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    children = [
        started(lambda rank=rank: _run(rank, size, port, arguments, prepare), folder / f"output.{rank}")
        for rank in range(size)
    ]
    for child in children:
        child.join(SECONDS)
    statuses = [child.exitcode for child in children]
    for child in children:
        child.kill()
    return statuses


def _run(rank: int, size: int, port: int, arguments: list[str], prepare: Callable[[int], object]) -> int:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in place.items()}, MASTER_ADDR="localhost")
    prepare(rank)
    return cli.main(arguments)

"""The same seed gives the same numbers, whatever ran before, and nothing is left changed for what comes after."""

from __future__ import annotations

import ast
import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recbole_painvrl
from recbole_painvrl import cli
from recbole_painvrl.quick_start import load_data_and_model, run_recbole_painvrl
from recbole_painvrl.randomness import generators_kept
from tests.endings import content
from tests.inputs import Board, write_checkerboard
from tests.model.models import OURS

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("PaInvRL", "BPR", "ERM", "MultiVAE")
ROUNDS = {"warmup_epochs": 1, "n_rounds": 1, "n_environments": 2, "env_max_iter": 2, "mask_steps": 3}
SIZES = {"train_batch_size": 128, "embedding_size": 8, "feature_size": 4, "id_dropout": 0.3, "epochs": 2}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return write_checkerboard(tmp_path_factory.mktemp("data"))


def keys(board: Board, **more: Any) -> dict[str, Any]:
    return board.config(**ROUNDS, **SIZES, use_gpu=False, **more)


def words(board: Board, models: tuple[str, ...], folder: Path) -> list[str]:
    """A comparison of models in this order, in one process."""
    raw = {name: value if isinstance(value, str) else json.dumps(value) for name, value in keys(board).items()}
    flags = [f"--{name}={value}" for name, value in raw.items()]
    return ["-m", ",".join(models), "-d", "board", *flags, f"--output_dir={folder}", "--parallel=1"]


def contents(folder: Path) -> dict[str, Any]:
    return {path.parent.name: content(path) for path in folder.glob("board/*/*")}


@pytest.fixture(scope="module")
def here(board: Board, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the models leave that run in this process, one after the other."""
    folder = tmp_path_factory.mktemp("here")
    assert cli.main(words(board, MODELS, folder)) == 0
    return contents(folder)


def test_the_order_of_models_and_the_process_change_nothing(board: Board, here: dict[str, Any], tmp_path: Path) -> None:
    """A fresh process, without pytest, runs them in the opposite order: the first here comes last there."""
    script = [sys.executable, str(ROOT / "run_recbole_painvrl.py"), *words(board, MODELS[::-1], tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert set(here) == set(MODELS)
    there = contents(tmp_path)
    for model in MODELS:
        assert here[model] == there[model], model


@pytest.mark.parametrize("model", ["PaInvRL", "MultiVAE"])
def test_twice_in_one_process_is_the_same(board: Board, here: dict[str, Any], tmp_path: Path, model: str) -> None:
    """Alone, after all the others, and with global generators in some other state."""
    random.seed(5), np.random.seed(6), torch.manual_seed(7)
    run_recbole_painvrl(model, "board", config_dict=keys(board, output_dir=str(tmp_path)))
    assert contents(tmp_path)[model] == here[model]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("model", OURS)
def test_a_gpu_repeats_itself(board: Board, tmp_path: Path, model: str) -> None:
    """Sums in a fixed order: two runs of the same seed agree to the last bit."""
    found = []
    for name in ("first", "second"):
        folder = tmp_path / name
        run_recbole_painvrl(model, "board", config_dict={**keys(board, output_dir=str(folder)), "use_gpu": True})
        found.append(contents(folder)[model])
    assert found[0] == found[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("model", OURS)
def test_a_gpu_ends_where_the_cpu_does(board: Board, tmp_path: Path, model: str) -> None:
    """The same draws, in another rounding: the losses of both epochs agree to a thousandth."""
    losses = []
    for gpu in (True, False):
        folder = tmp_path / str(gpu)
        run_recbole_painvrl(model, "board", config_dict={**keys(board, output_dir=str(folder)), "use_gpu": gpu})
        records = contents(folder)[model]["records"]
        losses.append([record["loss"] for record in records if record["event"] == "train"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_another_seed_gives_other_numbers(board: Board, here: dict[str, Any], tmp_path: Path) -> None:
    run_recbole_painvrl("ERM", "board", config_dict=keys(board, output_dir=str(tmp_path), seed=1))
    assert contents(tmp_path)["ERM"]["records"][1]["loss"] != here["ERM"]["records"][1]["loss"]


# what is left behind


def surroundings() -> dict[str, Any]:
    """The process's global generators and switches."""
    root = logging.getLogger()
    return {
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()[1:]) + np.random.get_state()[1].tobytes().hex(),
        "torch": torch.get_rng_state().tolist(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "type": torch.get_default_dtype(),
        "gradients": (torch.is_grad_enabled(), torch.is_anomaly_enabled()),
        "logging": (root.level, list(root.handlers)),
        "numpy errors": np.geterr(),
        "folder": os.getcwd(),
    }


def recbole_state() -> dict[tuple[str, ...], Any]:
    """What RecBole's modules and classes hold beside functions: lists, dicts, numbers, texts."""
    found: dict[tuple[str, ...], Any] = {}
    for name, module in list(sys.modules.items()):
        if module is None or name.partition(".")[0] != "recbole":
            continue
        for key, value in vars(module).items():
            holders = vars(value).items() if isinstance(value, type) else [("", value)]
            if isinstance(value, type) and not value.__module__.startswith("recbole"):
                continue
            found |= {(name, key, part): _held(one) for part, one in holders if not f"{key}{part}".startswith("__")}
    return found


def _held(value: Any) -> Any:
    if isinstance(value, dict | list | tuple | set | str | int | float | None):
        return repr(value)
    return value.tolist() if isinstance(value, torch.Tensor | np.ndarray) else id(value)


@pytest.mark.parametrize("model", ["PaInvRL", "BPR", "ItemKNN"])
def test_a_run_leaves_the_process_as_it_was(board: Board, tmp_path: Path, model: str) -> None:
    run_recbole_painvrl("Pop", "board", config_dict=keys(board, output_dir=str(tmp_path)))  # imports what is lazy
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    torch.backends.cudnn.benchmark, former = True, torch.backends.cudnn.benchmark
    try:
        before, classes = surroundings(), recbole_state()
        run_recbole_painvrl(model, "board", config_dict=keys(board, output_dir=str(tmp_path)))
        assert surroundings() == before
        after = recbole_state()
        assert {key: after[key] for key in classes} == classes
        (run,) = (tmp_path / "board" / model).iterdir()
        load_data_and_model(run)
        assert surroundings() == before
    finally:
        torch.backends.cudnn.benchmark = former


def test_generators_are_put_back_after_an_error_too() -> None:
    before = surroundings()
    with pytest.raises(ZeroDivisionError), generators_kept():
        random.random(), np.random.rand(), torch.rand(1)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        raise ZeroDivisionError
    assert surroundings() == before


def test_a_cpu_does_not_import_torchs_compiler_to_be_told_what_it_does_anyway() -> None:
    code = """
import sys, torch
from recbole_painvrl.randomness import generators_kept, repeat_on
with generators_kept():
    repeat_on(torch.device("cpu"), True)
    print("torch._inductor" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout
    assert told.split() == ["False"]


# the source: who could touch a global generator

STATE = {"recbole_painvrl/checkpoint.py"}  # reads and sets their states, for resuming and for generators_kept
SEEDED = {"recbole_painvrl/experiment.py", "recbole_painvrl/data/splits/command.py"}  # RecBole draws from them
MADE = {"default_rng", "Generator", "SeedSequence", "RandomState", "Random", "BitGenerator", "PCG64", "Philox"}
_DRAWS = """
    rand randn randint randperm normal bernoulli multinomial rand_like randn_like randint_like poisson
    normal_ uniform_ random_ bernoulli_ exponential_ log_normal_ cauchy_ geometric_
"""
_SEEDS = "manual_seed seed manual_seed_all seed_all set_rng_state set_rng_state_all initial_seed"
DRAWS, SEEDS = set(_DRAWS.split()), set(_SEEDS.split())
PLAIN = {"zeros_", "ones_", "constant_"}
LAYERS = {"Dropout", "dropout", "dropout_"}


def modules() -> list[str]:
    package = Path(recbole_painvrl.__file__).parent
    return [file.relative_to(ROOT).as_posix() for file in sorted(package.rglob("*.py"))]


def touching(source: str) -> Iterator[tuple[int, str]]:
    """Lines that draw from, seed or set a global generator of Python, NumPy or torch."""
    tree = ast.parse(source)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    globals_of = ("np.random.", "numpy.random.", *(["random."] if "random" in imported else []))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        given = {keyword.arg for keyword in node.keywords}
        draws = last in DRAWS or (".init." in f".{name}" and last not in PLAIN)
        touches = (
            name.startswith(globals_of) and last not in MADE,
            draws and "generator" not in given and not name.startswith(("random.", "draw.")),
            name == "init_seed" or (name.startswith("torch.") and "(" not in name and last in SEEDS),
            last in LAYERS,
        )
        if any(touches):
            yield node.lineno, name


def test_lines_that_touch_a_global_generator_are_found() -> None:
    bad = "random.shuffle(x); np.random.rand(3); torch.randn(2); t.normal_(); torch.manual_seed(1); nn.init.normal_(w)"
    expected = [line.partition("(")[0].strip() for line in bad.split(";")]
    assert [name for _, name in touching(f"import random\n{bad}")] == expected
    good = "np.random.default_rng(1); torch.randn(2, generator=g); t.normal_(generator=g); nn.init.zeros_(w)"
    assert list(touching(good)) == []


@pytest.mark.parametrize("file", modules())
def test_no_module_touches_a_global_generator(file: str) -> None:
    """But for two documented places: RecBole's own draws are seeded, and states are stored and put back."""
    found = list(touching((ROOT / file).read_text(encoding="utf-8")))
    if file in SEEDED:
        assert {name for _, name in found} == {"init_seed"}
    elif file in STATE:
        assert found and all("state" in name for _, name in found)
    else:
        assert found == []

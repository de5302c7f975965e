"""What each rotation of the features recovers, on simulated columns as they are and behind a random rotation.

Run ``python benchmarks/rotation.py``. Environments are given and masks are found with the package's defaults, along
the axes of every option. Columns of ``results/rotation.md``: how much of the variance of the invariant and of the
spurious taste passes the mask (1 and 0 are best), and the mean mask. With ``--runs FOLDER`` the whole program trains
PaInvRL with every option and ERM too, with the shipped defaults but for ``--set``, and NDCG@10 on both test sets is
added.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run_all
from recbole_painvrl.invariance import MaskSettings, SoftmaxLoss, generate_mask, learn_basis
from recbole_painvrl.model.rotation import rotate
from recbole_painvrl.simulate import RECIPES, Simulated, generate, simulate
from tests.invariance.pretrained import Study, study

REPOSITORY = Path(__file__).resolve().parent.parent
OPTIONS = ("none", "pca", "whiten", "zca", "learned", "zca + learned")
DATA = {"r1": "plain", "entangled": "entangled"}
METRIC = "ndcg@10"


def keys_of(option: str) -> dict[str, str]:
    """Returns the configuration keys of an option."""
    rotation = option.split(" + ")[0]
    learned = "learned" in option
    return {
        "feature_rotation": "none" if rotation == "learned" else rotation,
        "mask_axes": "learned" if learned else "features",
    }


def tastes(data: Simulated) -> list[np.ndarray]:
    """Returns what each written column adds to the invariant and to the spurious taste, both [D, L].

    The items' factors are the simulation's first numbers, drawn again here.

    Raises:
        ValueError: The columns do not explain the factors, so the simulation draws in another order by now.
    """
    recipe, draw = data.recipe, np.random.default_rng(data.seed)
    counts = recipe.invariant_columns, recipe.spurious_columns, recipe.noise_columns
    kinds = [draw.standard_normal((recipe.items, len(recipe.modalities) * count)) for count in counts]
    written = np.concatenate(list(data.features.values()), axis=1).astype(np.float64)
    found = []
    for kind in kinds[:2]:
        loadings = draw.standard_normal((kind.shape[1], recipe.latent))
        loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
        draw.standard_normal((recipe.users, recipe.latent))
        part, *_ = np.linalg.lstsq(written, kind @ loadings, rcond=None)
        if not np.allclose(written @ part, kind @ loadings, atol=1e-3):
            raise ValueError("the simulation's columns do not explain its tastes")
        found.append(part)
    return found


def passed(taste: np.ndarray, turn: np.ndarray, mask: np.ndarray) -> float:
    """Returns the share of a taste [D, L] that passes a mask on the columns of ``x @ turn`` [D, D]."""
    inside = np.linalg.solve(turn, taste)
    return float((taste * (turn @ (mask[:, None] * inside))).sum() / (taste**2).sum())


def blocks(data: Simulated) -> list[tuple[int, int]]:
    """Returns where each modality stands among the columns."""
    stops = np.cumsum([values.shape[1] for values in data.features.values()]).tolist()
    return list(zip([0, *stops[:-1]], stops, strict=True))


def rotated(trained: Study, parts: list[tuple[int, int]], rotation: str) -> tuple[Study, np.ndarray]:
    """Returns the study with each modality's features rotated, and the matrix [D, D] that does so."""
    table = trained.frozen.features.numpy()
    present = np.arange(len(table)) > 0
    turned = np.concatenate([rotate(table[:, start:stop], present, rotation) for start, stop in parts], axis=1)
    turned[0] = 0
    centered = table[1:] - table[1:].mean(axis=0) if rotation != "none" else table[1:]
    turn = np.linalg.lstsq(centered.astype(np.float64), turned[1:].astype(np.float64), rcond=None)[0]
    projection = trained.projection @ torch.from_numpy(np.linalg.inv(turn).T).float()
    frozen = replace(trained.frozen, features=torch.from_numpy(turned))
    return replace(trained, frozen=frozen, projection=projection), turn


def recovered(recipe: str, option: str, seed: int) -> tuple[float, float, float]:
    """Returns how much of both tastes passes the mask of one option, and the mean mask."""
    data, keys = generate(RECIPES[recipe], seed), keys_of(option)
    behind, turn = rotated(study(recipe, seed), blocks(data), keys["feature_rotation"])
    rows, loss = (behind.interactions, behind.labels), SoftmaxLoss()
    if keys["mask_axes"] == "learned":
        source = torch.Generator().manual_seed(2)
        bases = learn_basis(behind.frozen, *rows, behind.projection, loss, blocks(data), source)
        basis = torch.block_diag(*bases)
        behind = replace(behind, frozen=replace(behind.frozen, features=behind.frozen.features @ basis))
        turn = turn @ basis.double().numpy()
    source = torch.Generator().manual_seed(1)
    mask = generate_mask(behind.frozen, *rows, loss, source, MaskSettings()).mask.double().numpy()
    stable, shifting = tastes(data)
    return passed(stable, turn, mask), passed(shifting, turn, mask), float(mask.mean())


def settings(recipe: str, option: str | None, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the configuration of a run of the whole program; ERM where there is no option."""
    name, place = f"{recipe}-{seed}", options.runs / "data"
    if not (place / name).exists():
        simulate(recipe, name, seed, place)
    common = {"dataset": name, "data_path": str(place), "output_dir": str(options.runs / "runs"), "seed": seed}
    common |= {key: yaml.safe_load(value) for key, value in given_keys(options).items()}
    return (
        common
        | {"use_gpu": False, "show_progress": False}
        | ({"model": "ERM"} if option is None else {"model": "PaInvRL", "env_field": "environment", **keys_of(option)})
    )


def trained(recipe: str, options: argparse.Namespace) -> dict[str | None, list[str]]:
    """Returns mean NDCG@10 on the test set and out of distribution for ERM (None) and for each option."""
    names = [None, *OPTIONS]
    jobs = [settings(recipe, name, seed, options) for name in names for seed in range(options.seeds)]
    results = iter(run_all(jobs, options.jobs))
    table = {}
    for name in names:
        sets = [next(results)["test_results"] for _ in range(options.seeds)]
        table[name] = [f"{np.mean([one[part][METRIC] for one in sets]):.4f}" for part in ("test", "test_ood")]
    return table


def table(recipe: str, options: argparse.Namespace) -> str:
    """Returns the Markdown table of one kind of data."""
    header = ["axes", "invariant taste that passes", "spurious taste that passes", "mean mask"]
    ends = trained(recipe, options) if options.runs else {}
    rows = [["ERM", "", "", "", *ends[None]]] if ends else []
    for option in OPTIONS:
        found = np.array([recovered(recipe, option, seed) for seed in range(options.seeds)])
        cells = [
            f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(found.mean(axis=0), found.std(axis=0), strict=True)
        ]
        rows.append([option, *cells, *ends.get(option, [])])
        print(recipe, rows[-1], flush=True)
    return markdown(header + (["NDCG@10 IID", "NDCG@10 OOD"] if ends else []), rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--runs", type=Path, help="folder for data and runs of the whole program")
    add_keys(parser)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "results" / "rotation.md", help="Markdown tables")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the tables."""
    torch.set_num_threads(1)
    options = parse(arguments)
    runs = " --runs FOLDER" if options.runs else ""
    keys = "".join(f" --set {pair}" for pair in options.set)
    command = f"python benchmarks/rotation.py --seeds {options.seeds}{runs}{keys}"
    text = (
        f"# Axes of the mask\n\nMade by `{command}`. Given environments, mean ± deviation over {options.seeds} seeds.\n"
    )
    for recipe, title in DATA.items():
        text += f"\n## {recipe} ({title})\n\n{table(recipe, options)}"
    write(options.output, text)


if __name__ == "__main__":
    main()

"""``recbole-painvrl simulate RECIPE --name NAME --seed S``: a data set whose truth is known."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_painvrl.convert.modalities import PLAIN
from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.simulate.generator import Simulated, generate
from recbole_painvrl.simulate.large import Large
from recbole_painvrl.simulate.recipes import PURPOSES, RECIPES, Recipe, checked
from recbole_painvrl.simulate.scales import SCALES, scale_with
from recbole_painvrl.simulate.write import write
from recbole_painvrl.simulate.write_large import write_large


def simulate(
    recipe: str,
    name: str,
    seed: int = 0,
    data_path: str | Path = "dataset",
    overwrite: bool = False,
    **constants: Any,
) -> Simulated:
    """Writes the data set ``data_path/name`` and returns it.

    Args:
        recipe: One of ``RECIPES``.
        name: Name of the data set.
        seed: What everything is drawn with.
        data_path: Folder of data sets.
        overwrite: Whether a data set of this name is replaced.
        **constants: Attributes of :class:`Recipe` that differ from the recipe's, as values or as texts.

    Raises:
        UserError: An argument cannot be used; nothing is written then.
    """
    chosen, target = recipe_with(recipe, constants), _checked_target(data_path, name, seed, overwrite)
    data = generate(chosen, seed)
    write(data, recipe, target, overwrite)
    return data


def simulate_scale(
    scale: str,
    name: str,
    seed: int = 0,
    data_path: str | Path = "dataset",
    overwrite: bool = False,
    show_progress: bool = False,
    **constants: Any,
) -> tuple[Large, dict[str, int]]:
    """Writes the data set ``data_path/name`` block by block; returns what made it and the interactions of each set.

    Args:
        scale: One of ``SCALES``.
        name: Name of the data set.
        seed: What everything is drawn with.
        data_path: Folder of data sets.
        overwrite: Whether a data set of this name is replaced.
        show_progress: Whether to show a progress bar.
        **constants: Attributes of :class:`Scale` that differ from the scale's, as values or as texts.

    Raises:
        UserError: An argument cannot be used; nothing is written then.
    """
    read = {key: _read(key, SCALE_TYPES.get(key, "int"), value) if isinstance(value, str) else value
            for key, value in constants.items()}  # fmt: skip
    chosen, target = scale_with(scale, read), _checked_target(data_path, name, seed, overwrite)
    data = Large(chosen, seed)
    return data, write_large(data, scale, target, overwrite, show_progress)


def _checked_target(data_path: str | Path, name: str, seed: int, overwrite: bool) -> Path:
    """Returns the folder to write, once it is sure that it may be written."""
    target = Path(data_path) / name
    if not PLAIN.fullmatch(name):
        raise UserError(f"--name '{name}' is no plain name; use letters, digits, '_', '-' and '.', a letter first")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; choose another --name or say --overwrite")
    if seed < 0:
        raise UserError(f"--seed={seed}: expected 0 or more")
    return target


def recipe_with(recipe: str, constants: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of this name with some constants replaced.

    Raises:
        UserError: There is no such recipe or constant, or a value is out of range.
    """
    if recipe not in RECIPES:
        known = ", ".join(RECIPES)
        raise UserError(f"unknown recipe '{recipe}', expected one of {known}.{nearest(recipe, RECIPES)}")
    types = {constant.name: str(constant.type) for constant in fields(Recipe)}
    values = {}
    for key, value in constants.items():
        if key not in types:
            raise UserError(f"unknown constant '{key}', expected one of {', '.join(types)}.{nearest(key, types)}")
        values[key] = _read(key, types[key], value) if isinstance(value, str) else value
    return checked(replace(RECIPES[recipe], **values))


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _list(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(read(part.strip()) for part in text.split(",") if part.strip())


READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "int": ("a whole number", int),
    "float": ("a number", float),
    "bool": ("true or false", _truth),
    "tuple[float, ...]": ("numbers such as 3,1.5,0", _list(float)),
    "tuple[str, ...]": ("names such as visual,acoustic", _list(str)),
}
SCALE_TYPES = {constant.name: str(constant.type) for constant in fields(Recipe)}


def _read(key: str, kind: str, text: str) -> Any:
    expected, read = READERS[kind]
    try:
        return read(text)
    except (ValueError, KeyError):
        raise UserError(f"--{key}={text}: expected {expected}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to ``parser``."""
    recipes = "\n".join(f"  {name:<10} {purpose}" for name, purpose in PURPOSES.items())
    parser.epilog = f"recipes:\n{recipes}\n\nThe same recipe, constants and seed give the same bytes."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--scale", metavar="SCALE", help=f"instead of a recipe, one of {', '.join(SCALES)}: paper-size")
    parser.add_argument("--interactions", metavar="X", help="of a scale (default: in proportion to users)")
    parser.add_argument("--half", action="store_true", help="of a scale, write features in half precision")
    parser.add_argument("--name", help="name of the data set to write (default: scale-SCALE)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="what everything is drawn with (default: 0)")
    parser.add_argument("--data_path", default="dataset", help="folder of data sets (default: dataset)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of this name")
    group = parser.add_argument_group("constants", "default: those of the recipe; here are r1's")
    for constant in fields(Recipe):
        shown = constant.default
        text = ",".join(map(str, shown)) if isinstance(shown, tuple) else str(shown).lower()
        group.add_argument(f"--{constant.name}", metavar="X", help=f"{constant.metadata['help']} ({text})")


def run(arguments: argparse.Namespace) -> None:
    """Simulates as the parsed ``arguments`` say and prints what was written.

    Raises:
        UserError: An argument is missing or cannot be used.
    """
    given = {constant.name: getattr(arguments, constant.name) for constant in fields(Recipe)}
    constants = {key: value for key, value in given.items() if value is not None}
    if (arguments.recipe is None) == (arguments.scale is None):
        raise UserError(f"simulate: expected a recipe ({', '.join(RECIPES)}) or --scale={'|'.join(SCALES)}")
    if arguments.scale is not None:
        return _run_scale(arguments, constants)
    if arguments.name is None or arguments.interactions is not None or arguments.half:
        raise UserError("simulate: a recipe needs --name, and --interactions and --half are for --scale")
    place = arguments.data_path, arguments.overwrite
    data = simulate(arguments.recipe, arguments.name, arguments.seed, *place, **constants)
    print(summary(data, str(Path(arguments.data_path) / arguments.name)))


def _run_scale(arguments: argparse.Namespace, constants: dict[str, Any]) -> None:
    """Simulates at a paper's size and prints what was written."""
    name = arguments.name or f"scale-{arguments.scale}"
    constants |= {"half": True} if arguments.half else {}
    constants |= {} if arguments.interactions is None else {"interactions": arguments.interactions}
    place = arguments.data_path, arguments.overwrite, True
    data, counts = simulate_scale(arguments.scale, name, arguments.seed, *place, **constants)
    total, folder = sum(counts.values()) - counts["test_ood"], Path(arguments.data_path) / name
    print(f"{folder}: {data.scale.users:,} users, {data.scale.items:,} items, {total:,} interactions")
    print("\n".join(f"{split}: {count:,}" for split, count in counts.items()))


def summary(data: Simulated, folder: str) -> str:
    """Returns the counts of a simulated data set as lines of text."""
    counts = np.bincount(data.sets, minlength=len(data.set_names))
    columns = {name: values.shape[1] for name, values in data.features.items()}
    lines = [f"{folder}: {data.recipe.users:,} users, {data.recipe.items:,} items, {len(data.users):,} interactions"]
    lines += [f"{name}: {count:,}" for name, count in zip(data.set_names, counts, strict=True)]
    lines += ["features: " + ", ".join(f"{name} {width}" for name, width in columns.items())]
    hidden = "truth_latent.csv, behind the rotations of truth_rotation.npz" if data.rotations else "truth.csv"
    return "\n".join([*lines, f"truth: {hidden}", "gamma of each environment: gammas.csv"])

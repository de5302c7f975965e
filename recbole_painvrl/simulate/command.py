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
from recbole_painvrl.simulate.recipes import PURPOSES, RECIPES, Recipe, checked
from recbole_painvrl.simulate.write import write


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
    chosen, target = recipe_with(recipe, constants), Path(data_path) / name
    if not PLAIN.fullmatch(name):
        raise UserError(f"--name '{name}' is no plain name; use letters, digits, '_', '-' and '.', a letter first")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; choose another --name or say --overwrite")
    if seed < 0:
        raise UserError(f"--seed={seed}: expected 0 or more")
    data = generate(chosen, seed)
    write(data, recipe, target, overwrite)
    return data


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
    parser.add_argument("recipe", metavar="RECIPE", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--name", required=True, help="name of the data set to write")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="what everything is drawn with (default: 0)")
    parser.add_argument("--data_path", default="dataset", help="folder of data sets (default: dataset)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of this name")
    group = parser.add_argument_group("constants", "default: those of the recipe; here are r1's")
    for constant in fields(Recipe):
        shown = constant.default
        text = ",".join(map(str, shown)) if isinstance(shown, tuple) else str(shown).lower()
        group.add_argument(f"--{constant.name}", metavar="X", help=f"{constant.metadata['help']} ({text})")


def run(arguments: argparse.Namespace) -> None:
    """Simulates as the parsed ``arguments`` say and prints what was written."""
    given = {constant.name: getattr(arguments, constant.name) for constant in fields(Recipe)}
    constants = {key: value for key, value in given.items() if value is not None}
    place = arguments.data_path, arguments.overwrite
    data = simulate(arguments.recipe, arguments.name, arguments.seed, *place, **constants)
    print(summary(data, str(Path(arguments.data_path) / arguments.name)))


def summary(data: Simulated, folder: str) -> str:
    """Returns the counts of a simulated data set as lines of text."""
    counts = np.bincount(data.sets, minlength=len(data.set_names))
    columns = {name: values.shape[1] for name, values in data.features.items()}
    lines = [f"{folder}: {data.recipe.users:,} users, {data.recipe.items:,} items, {len(data.users):,} interactions"]
    lines += [f"{name}: {count:,}" for name, count in zip(data.set_names, counts, strict=True)]
    lines += ["features: " + ", ".join(f"{name} {width}" for name, width in columns.items())]
    hidden = "truth_latent.csv, behind the rotations of truth_rotation.npz" if data.rotations else "truth.csv"
    return "\n".join([*lines, f"truth: {hidden}", "gamma of each environment: gammas.csv"])

"""The key ``modalities``: which feature blocks there are, where each comes from, and what else may be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from recbole_painvrl.data.normalize import NORMALIZATIONS
from recbole_painvrl.errors import UserError, nearest

# What may be said of a modality, with the default; None stands for "found by the modality's name".
SOURCES: dict[str, dict[str, Any]] = {
    "npy": {"file": None, "normalize": "l2"},
    "atomic": {"file": None, "field": None, "normalize": "l2"},
    "text": {"field": None, "dimension": 64, "normalize": "l2"},
    "tags": {"field": None, "normalize": "l2"},
    "number": {"field": None, "dimension": 8, "normalize": "l2"},
    "words": {"field": "words", "dimension": 128},
}
_MOST_DIMENSIONS = 2**16  # more is a slip of the finger that no memory would hold
# Suffixes of a data folder that hold no features.
_NO_FEATURES = {".inter", ".item", ".user", ".ids", ".link", ".kg", ".net", ".yaml"}


def resolve_settings(settings: Any, folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Completes the key ``modalities``.

    Args:
        settings: Its value: None for every ``<dataset>.<modality>.npy`` of the folder in alphabetical order, a list of
            names, or a mapping from name to settings (None for all defaults).
        folder: The data folder.
        dataset: Name of the data set, which starts every file name.

    Returns:
        For each modality, in order, its ``source`` and every key that :data:`SOURCES` lists for that source.

    Raises:
        UserError: A name, key or value is not known, or a modality has no source and no file by its name.
    """
    if settings is None:
        settings = sorted(path.name[len(dataset) + 1 : -4] for path in folder.glob(f"{dataset}.*.npy"))
    if isinstance(settings, list):
        settings = dict.fromkeys(settings)
    if not isinstance(settings, Mapping):
        raise UserError(f"modalities: {settings!r} is no mapping such as {{visual: {{source: npy}}}} or list of names")
    return {name: _resolve(name, given, folder, dataset) for name, given in settings.items()}


def _resolve(name: str, given: Any, folder: Path, dataset: str) -> dict[str, Any]:
    """Completes the settings of one modality."""
    if not isinstance(name, str) or not name or any(mark in name for mark in "./\\"):
        raise UserError(f"modalities: {name!r} cannot be the name of a modality; use letters, digits, - and _")
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise UserError(f"modalities.{name}: {given!r} is no mapping such as {{source: npy, normalize: l2}}")
    source = given.get("source") or _find_source(name, folder, dataset)
    if source not in SOURCES:
        hint = nearest(str(source), SOURCES)
        raise UserError(f"modalities.{name}.source: {source!r} is none of {', '.join(SOURCES)}.{hint}")
    known = SOURCES[source]
    for key in given:
        if key not in known and key != "source":
            what = f"source {source} takes {', '.join(known)}"
            raise UserError(f"modalities.{name}: unknown key {key!r}; {what}.{nearest(str(key), known)}")
    resolved = {"source": source, **known, **given}
    _check_values(name, resolved)
    return resolved


def _check_values(name: str, settings: Mapping[str, Any]) -> None:
    """Refuses values outside the range of their key."""
    kind = settings.get("normalize", "none")
    if kind not in NORMALIZATIONS:
        choices = f"none of {', '.join(NORMALIZATIONS)}.{nearest(str(kind), NORMALIZATIONS)}"
        raise UserError(f"modalities.{name}.normalize: {kind!r} is {choices}")
    least = 2 if settings["source"] == "number" else 1
    dimension = settings.get("dimension", least)
    if not isinstance(dimension, int) or isinstance(dimension, bool) or not least <= dimension <= _MOST_DIMENSIONS:
        most = f"at least {least} and at most {_MOST_DIMENSIONS}"
        raise UserError(f"modalities.{name}.dimension: {dimension!r} is not a whole number of {most}")
    for key in ("field", "file"):
        if not isinstance(settings.get(key), (str, type(None))):
            raise UserError(f"modalities.{name}.{key}: {settings[key]!r} is not a name")
    check_inside(name, settings.get("file"))


def check_inside(name: str, file: str | None) -> None:
    """Refuses a file of a modality that is not in the data folder, on whichever system its path was written.

    Raises:
        UserError: Its path leads out of the folder.
    """
    path = PureWindowsPath(file or "inside")  # which knows both kinds of slashes
    if path.anchor or ".." in path.parts:
        raise UserError(f"modalities.{name}.file: {file!r} is not in the data folder; put the file there")


def _find_source(name: str, folder: Path, dataset: str) -> str:
    """Tells the source of a modality by the file that bears its name."""
    matrix, text = folder / f"{dataset}.{name}.npy", folder / f"{dataset}.{name}"
    if matrix.is_file():
        return "npy"
    if text.is_file():
        return "atomic"
    there = sorted(path.name for path in folder.glob(f"{dataset}.*") if path.suffix not in _NO_FEATURES)
    found = f"found {', '.join(there)}" if there else "the folder has no feature file"
    looked = f"looked for {matrix.name} and {text.name} in {folder}, {found}"
    raise UserError(f"modalities.{name}: {looked}; add the file or set source: text, tags, number or words")

"""``recbole-painvrl doctor``: what is installed, what of it is usable, and how to mend the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from recbole_painvrl import __version__
from recbole_painvrl.errors import UserError, unreadable

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "recbole",
    "ray",
    "hyperopt",
    "matplotlib",
    "setuptools",
)
# Optional part -> the imports that it makes.
PARTS = {
    "tune": "from ray import tune, air",
    "hyperopt": "from hyperopt import fmin, tpe, hp",
    "report": "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot",
}
# Text in the last line of a failed import -> the command that mends it.
MENDING = {
    "pkg_resources": 'pip install "setuptools<82"',
    "bool8": 'pip install "numpy<2" "pandas<3" "pyarrow<26"',
    "float_": 'pip install "numpy<2" "pandas<3" "pyarrow<26"',
    "pyarrow": 'pip install "pyarrow<26"',
}
_IMPORT_SECONDS = 120


def run(data_path: str | Path = "dataset") -> int:
    """Prints the findings.

    Args:
        data_path: The parent of the data folders to look at.

    Returns:
        0 if models can be trained here, else 1. Optional parts that are missing do not count.
    """
    print("\n".join(_versions()))
    problem = _core_problem()
    if problem:
        print(f"core        NOT usable: {problem}")
    else:
        print("core        usable")
        print("\n".join([*_devices(), *_repairs()]))
    print("\n".join([*_optional_parts(), *_data_folders(Path(data_path))]))
    return 1 if problem else 0


def _versions() -> Iterator[str]:
    yield f"recbole_painvrl {__version__} on Python {platform.python_version()} ({platform.platform()})"
    for package in PACKAGES:
        try:
            yield f"  {package:<13} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"  {package:<13} not installed"


def _core_problem() -> str:
    """Returns why no model can be trained here, or an empty text. RecBole's own data and BPR are the probe."""
    return _failure("from recbole_painvrl.config import Config; Config('BPR', 'ml-100k')")


def _failure(code: str) -> str:
    """Runs ``code`` in a process of its own, so that a broken library cannot take this one along.

    Returns:
        The last line of its error, or an empty text if there is none.
    """
    search = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"the import took more than {_IMPORT_SECONDS} seconds"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"the process ended with status {done.returncode}"


def _devices() -> Iterator[str]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield f"devices     CPU with {os.cpu_count()} cores, {torch.get_num_threads()} threads (OMP_NUM_THREADS sets them)"
    yield f"            GPU: {', '.join(names) if names else 'none that torch can use'}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        yield f"            CUDA_VISIBLE_DEVICES is '{visible}'"


def _repairs() -> Iterator[str]:
    """Tells which libraries needed a repair in this process; the probe of the core has run in another one."""
    from recbole_painvrl.compat.libraries import LIBRARY_REPAIRS

    for repair in LIBRARY_REPAIRS:
        state = "repaired" if repair.needed() else "nothing to repair"
        repair.mend()
        yield f"repairs     {repair.name}: {state} ({repair.upstream})"
    yield "            RecBole's Dataset, Collector and some models are repaired in subclasses, always"


def _optional_parts() -> Iterator[str]:
    for part, code in PARTS.items():
        problem = _failure(code)
        if not problem:
            yield f"{part:<11} usable"
        else:
            yield f"{part:<11} not usable: {problem}"
            yield f"            mend it by: {_mending(part, problem)}"


def _mending(part: str, problem: str) -> str:
    for sign, command in MENDING.items():
        if sign in problem:
            return command
    return f'pip install "recbole_painvrl[{part}]"'


def _data_folders(parent: Path) -> Iterator[str]:
    """Tells of each data folder what is in it and what does not fit."""
    if not parent.is_dir():
        yield f"data        {parent.resolve()} does not exist; only ml-100k, from RecBole's wheel, can be used"
        return
    folders = sorted(path for path in parent.iterdir() if path.is_dir())
    yield f"data        {parent.resolve()}: {len(folders)} data sets, and ml-100k from RecBole's wheel"
    for folder in folders:
        try:
            findings = list(_findings(folder))
            yield f"            {folder.name}: {_contents(folder)}; {'; '.join(findings) if findings else 'sane'}"
        except OSError as error:
            yield f"            {folder.name}: PROBLEM: {unreadable(error.filename or folder, error)}"


def _contents(folder: Path) -> str:
    prefix = f"{folder.name}."
    names = sorted(path.name.removeprefix(prefix) for path in folder.iterdir() if path.name.startswith(prefix))
    return ", ".join(names) or "no file of its name"


def _findings(folder: Path) -> Iterator[str]:
    """Yields what is wrong with a data folder: no interactions, unreadable headers, features that fit no ids."""
    from recbole_painvrl.data.atomic import AtomicFormat, read_header

    atomic = [
        *folder.glob(f"{folder.name}.*inter"),
        *folder.glob(f"{folder.name}.item"),
        *folder.glob(f"{folder.name}.user"),
    ]
    if not any(path.suffix == ".inter" for path in atomic):
        yield f"PROBLEM: no {folder.name}.inter and no {folder.name}.train.inter"
    for path in sorted(atomic):
        try:
            read_header(path, AtomicFormat())
        except UserError as error:
            yield f"PROBLEM: {error}"
    for path in sorted(folder.glob(f"{folder.name}.*.npy")):
        yield from _feature_findings(path)


def _feature_findings(path: Path) -> Iterator[str]:
    import numpy as np

    from recbole_painvrl.data.atomic import encoding_error
    from recbole_painvrl.files import DAMAGED_ARRAY

    ids = path.with_suffix(".ids")
    if not ids.is_file():
        yield f"PROBLEM: {path.name} has no {ids.name} beside it"
        return
    try:
        shape = np.lib.format.open_memmap(path, mode="r").shape
    except DAMAGED_ARRAY as error:
        yield f"PROBLEM: {path.name} is no array of numbers ({error})"
        return
    try:
        n_ids = len(ids.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        yield f"PROBLEM: {encoding_error(ids, 'utf-8', error)}"
        return
    if len(shape) != 2 or shape[0] != n_ids:
        yield f"PROBLEM: {path.name} has the shape {shape}, {ids.name} has {n_ids} lines; they must have equal rows"

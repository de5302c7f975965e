"""The words of the command line that belong to searches, and what they ask for. Imports nothing heavy by itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from recbole_painvrl.errors import UserError

if TYPE_CHECKING:
    from recbole_painvrl.tuning.places import Places

_RAY = ("address", "storage_path", "max_concurrent", "cpus_per_trial", "gpus_per_trial", "grace_period")
_NAMES = ("tool", "algo", "max_evals", "num_samples", "output_file", *_RAY)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a search; ``--parallel``, ``--address`` and ``--resume`` are there already."""
    add = parser.add_argument_group("hyper-parameter search (README: Searching hyper-parameters)").add_argument
    add("--params_file", metavar="FILE", help="search these parameters, such as those of hyper.test")
    add("--tool", metavar="NAME", help="Hyperopt: processes of this machine (default); Ray: Ray Tune with ASHA")
    add("--algo", metavar="NAME", help="exhaustive, random (default) or tpe")
    add("--max_evals", type=int, metavar="N", help="trials (default 30; exhaustive: all)")
    add("--num_samples", type=int, metavar="N", help="the same")
    add("--output_file", metavar="FILE", help="where RecBole's text form goes (default: the search's folder)")
    add("--storage_path", metavar="FOLDER", help="Ray: where its own files go (default: the search's folder)")
    add("--max_concurrent", type=int, metavar="N", help="Ray: how many trials at once at the most")
    add("--cpus_per_trial", type=int, metavar="N", help="Ray: cores of each trial (default: OMP_NUM_THREADS, or 1)")
    add("--gpus_per_trial", type=float, metavar="X", help="Ray: GPUs of each trial, or a share of one")
    add("--grace_period", type=int, metavar="N", help="Ray: spare a trial for N validations of its final training (5)")


def run(flags: argparse.Namespace, keys: dict[str, str], seed: int | None) -> int:
    """Runs the search of a command line, or continues it.

    Args:
        flags: The parsed flags, each of at most one model, data set and seed.
        keys: Raw keys of the configuration.
        seed: The seed; None for the configuration's.

    Returns:
        The exit status.

    Raises:
        UserError: The flags contradict each other, or the search cannot begin.
    """
    from recbole_painvrl.tuning.grammar import read_space
    from recbole_painvrl.tuning.plan import DEFAULT_GRACE, Search, algorithm_named
    from recbole_painvrl.tuning.search import run_search

    tool = {"hyperopt": "Hyperopt", "ray": "Ray"}.get((flags.tool or "Hyperopt").lower(), flags.tool)
    places = _places(flags, tool)
    _, text = read_space(flags.params_file)
    search = Search(
        flags.model,
        flags.dataset,
        seed,
        tuple(flags.config_files.split()),
        keys,
        flags.params_file,
        text,
        tool,
        algorithm_named(flags.algo),
        _trials(flags),
        DEFAULT_GRACE if flags.grace_period is None else flags.grace_period,
    )
    return 0 if run_search(search, places).winner else 1


def resume(flags: argparse.Namespace, keys: dict[str, str]) -> int:
    """Continues the search in the folder ``flags.resume``; returns the exit status.

    Raises:
        UserError: The flags would make another search, or it cannot be continued.
    """
    from recbole_painvrl.tuning.plan import Search
    from recbole_painvrl.tuning.record import read
    from recbole_painvrl.tuning.search import resume_search

    given = [f"--{name}" for name in ("params_file", "tool", "algo") if getattr(flags, name)]
    if given:
        raise UserError(f"--resume={flags.resume} already says what to search; leave out {' '.join(given)}")
    search = Search.recorded(read(flags.resume))
    places = _places(flags, search.tool)
    if flags.grace_period not in (None, search.grace_period):
        raise UserError(
            f"--grace_period={flags.grace_period}: the search in {flags.resume} has {search.grace_period}, and another "
            "would stop other trials; leave it out, or begin another search with it"
        )
    return 0 if resume_search(flags.resume, keys, _trials(flags), places).winner else 1


def check_absent(flags: argparse.Namespace) -> None:
    """Refuses the flags of a search where nothing is searched.

    Raises:
        UserError: One of them is given.
    """
    given = [f"--{name}" for name in _NAMES if name != "address" and getattr(flags, name) is not None]
    if given:
        raise UserError(f"{' '.join(given)}: for a search, which needs --params_file=FILE too (such as hyper.test)")


def _trials(flags: argparse.Namespace) -> int | None:
    if flags.max_evals is not None and flags.num_samples is not None:
        raise UserError("--max_evals and --num_samples mean the same; give one of them")
    return flags.max_evals if flags.max_evals is not None else flags.num_samples


def _places(flags: argparse.Namespace, tool: str) -> Places:
    from recbole_painvrl.tuning.places import Places

    others = [f"--{name}" for name in _RAY if getattr(flags, name) is not None]
    if tool != "Ray" and others:
        raise UserError(f"{' '.join(others)}: for --tool=Ray only; leave it out, or say --tool=Ray")
    if tool == "Ray" and flags.parallel:
        raise UserError("--parallel: Ray itself says how many trials run at once; use --max_concurrent=N instead")
    for name in ("max_concurrent", "cpus_per_trial"):
        if getattr(flags, name) is not None and getattr(flags, name) < 1:
            raise UserError(f"--{name}: expected a number of at least 1, but got {getattr(flags, name)}")
    if flags.gpus_per_trial is not None and flags.gpus_per_trial < 0:
        raise UserError(f"--gpus_per_trial: expected a number from 0, but got {flags.gpus_per_trial}")
    parallel = flags.parallel
    if parallel is not None and not (parallel.isdecimal() and int(parallel) > 0):
        raise UserError(f"--parallel: expected a number of at least 1, but got '{parallel}'; for Ray say --tool=Ray")
    return Places(
        None if parallel is None else int(parallel),
        flags.address,
        flags.storage_path,
        flags.max_concurrent,
        flags.cpus_per_trial,
        flags.gpus_per_trial,
        flags.output_file,
    )

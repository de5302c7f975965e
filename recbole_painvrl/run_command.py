"""The command without a name: one run, several side by side, or a search."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.parser import Parser
from recbole_painvrl.tuning import flags as search_flags

if TYPE_CHECKING:
    from recbole_painvrl.comparison.plan import Command
    from recbole_painvrl.comparison.record import Record
    from recbole_painvrl.config import Config

COMMANDS = ("convert", "split", "simulate", "recommend", "report", "doctor")  # those with a name
USAGE = "%(prog)s [options] [--key=value ...]\n       %(prog)s {convert,simulate,split,recommend,report,doctor} ..."
EPILOG = """\
Any key of the configuration may be given as --key=value or --key value. What counts first: the command line, then the
configuration files (the last one first), then the defaults.

commands (each has its own --help):
  convert FORMAT SOURCE --name NAME    raw data to a data folder
  split DATASET --kind=KIND --name NAME  an out-of-distribution test set, as a new data folder
  simulate RECIPE --name NAME          a data set whose invariant and spurious features are known
  recommend RUN_FOLDER --users=a,b     top-k items of a trained model; --explain takes their scores apart
  report RUN_FOLDER...                 tables and pictures of finished runs, from their records alone
  doctor                               versions, devices and what is usable here

examples:
  %(prog)s                                                PaInvRL on ml-100k, nothing to download
  %(prog)s -m LightGCN -d tiktok --epochs=50
  %(prog)s -m BPR,PaInvRL -d tiktok --seeds=1,2,3         side by side; only what is not done is run
  %(prog)s -d tiktok --params_file=hyper.test             search hyper-parameters on validation
  %(prog)s --resume=runs/tiktok/PaInvRL/2026-1a2b3c4d     continue an interrupted run, comparison or search
"""


def _parser() -> Parser:
    parser = Parser(
        prog="recbole-painvrl",
        usage=USAGE,
        description="Train and test multimedia recommenders: PaInvRL, its baselines and every model of RecBole.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", "-m", metavar="NAME", help="model, or several: A,B (default PaInvRL)")
    add("--dataset", "-d", metavar="NAME", help="data set, or several: A,B (default ml-100k)")
    add("--config_files", default="", metavar='"A.yaml B.yaml"', help="configuration files, separated by spaces")
    add("--seeds", metavar="1,2,3", help="one run for each seed")
    add("--parallel", metavar="N", help="of several runs, how many at once (default: one a core or GPU), or ray")
    add("--address", metavar="HOST:PORT", help="the Ray cluster for --parallel=ray; auto for the one of this machine")
    add("--resume", nargs="?", const=True, metavar="FOLDER", help="continue a run, comparison, search, or this command")
    add("--tune", type=int, metavar="N", help="tune each model by N trials on validation before its seeds are run")
    search_flags.add_arguments(parser)
    add("--nproc", type=int, default=1, metavar="N", help="train one model in N processes, on GPUs one each")
    add("--world_size", type=int, default=-1, metavar="N", help="of several machines: processes on all of them")
    add("--group_offset", type=int, default=0, metavar="N", help="of several machines: processes before this one's")
    add("--ip", default="localhost", help="of several machines: address of the first")
    add("--port", help="of several machines: port there (default 5678)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Makes the runs that the arguments ask for, or goes on with them; returns the exit status.

    Raises:
        UserError: The arguments, the configuration or the data are at fault.
    """
    flags, rest = _parser().parse_known_args(arguments)
    keys = configuration_keys(rest)
    if isinstance(flags.resume, str):
        return _resume(flags, keys)
    from recbole_painvrl.comparison.compare import compare
    from recbole_painvrl.comparison.plan import Command

    models, datasets = _listed("model", flags.model), _listed("dataset", flags.dataset)
    seeds = _seeds(flags.seeds, keys)
    if flags.tune is not None and (flags.params_file or flags.tune < 1):
        raise UserError(
            "--tune: expected a number of trials from 1, and no --params_file: each model has its own space"
        )
    if flags.params_file:
        _check_one_process(flags)
        if len(models) * len(datasets) * len(seeds) > 1:
            raise UserError("--params_file: a search is for one model, one data set and one seed; name one of each")
        return search_flags.run(flags, keys, seeds[0])
    search_flags.check_absent(flags)
    command = Command(models, datasets, seeds, tuple(flags.config_files.split()), keys, flags.tune)
    several = len(models) * len(datasets) * len(seeds) > 1
    if not (several or flags.parallel or flags.address or flags.tune):
        return _single(command, flags)
    _check_one_process(flags)
    return _status(compare(command, flags.parallel, flags.address))


def _resume(flags: argparse.Namespace, keys: dict[str, str]) -> int:
    from recbole_painvrl.comparison.compare import is_comparison, resume_comparison
    from recbole_painvrl.distributed import place
    from recbole_painvrl.quick_start import to_continue
    from recbole_painvrl.tuning.record import is_search

    named = {name: getattr(flags, name) for name in ("model", "dataset", "seeds", "config_files", "tune")}
    given = [f"--{name}" for name, value in named.items() if value]
    if given:
        raise UserError(f"--resume={flags.resume} already says what to run; leave out {' '.join(given)}")
    if is_search(flags.resume):
        _check_one_process(flags)
        return search_flags.resume(flags, keys)
    search_flags.check_absent(flags)
    if is_comparison(flags.resume):
        _check_one_process(flags)
        return _status(resume_comparison(flags.resume, keys, flags.parallel, flags.address))
    return _execute(to_continue(flags.resume, keys, place()), flags, Path(flags.resume))


def _single(command: Command, flags: argparse.Namespace) -> int:
    from recbole_painvrl.distributed import place
    from recbole_painvrl.experiment import run_folder
    from recbole_painvrl.quick_start import configure
    from recbole_painvrl.report.records import RunFolder

    (model,), (dataset,), (seed,) = command.models, command.datasets, command.seeds
    keys = command.keys if seed is None else {**command.keys, "seed": str(seed)}
    config = configure(model, dataset, command.config_files, place(), command_line=keys)
    folder = run_folder(config)
    return _execute(config, flags, folder if flags.resume and RunFolder(folder).started else None)


def _execute(config: Config, flags: argparse.Namespace, continued: Path | None) -> int:
    """Makes a run: in this process, which may be one of ``torchrun``'s, or in as many as the flags say."""
    from recbole_painvrl.distributed import leave
    from recbole_painvrl.experiment import execute
    from recbole_painvrl.launch import Layout, launch

    layout = Layout(flags.nproc, flags.world_size, flags.group_offset, flags.ip, flags.port)
    layout.check()
    if layout.size > 1 and config["world_size"] == 1:
        return launch(config, layout, continued=continued)
    execute(config, continued=continued)
    leave()
    return 0


def _check_one_process(flags: argparse.Namespace) -> None:
    if max(flags.nproc, flags.world_size) > 1 or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("--nproc: several processes are for one run; a comparison or search takes --parallel")


def _status(record: Record) -> int:
    return 0 if record.count("done") == len(record.cells) else 1


def _listed(flag: str, text: str | None) -> tuple[str | None, ...]:
    if not text:
        return (None,)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UserError(f"--{flag}: expected a name, or several such as A,B, but got '{text}'")
    return names


def _seeds(text: str | None, keys: dict[str, str]) -> tuple[int | None, ...]:
    if text is None:
        return (None,)
    if "seed" in keys:
        raise UserError("--seed and --seeds contradict each other; give one of them")
    try:
        return tuple(int(seed) for seed in text.split(","))
    except ValueError:
        raise UserError(f"--seeds: expected numbers such as 1,2,3, but got '{text}'") from None


def configuration_keys(words: Sequence[str]) -> dict[str, str]:
    """Returns the raw values of ``--key=value`` and ``--key value``; a value may hold ``=`` itself.

    Raises:
        UserError: A word is no option, an option has no value, or a key is given twice with different values.
    """
    keys: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--") or word == "--":
            raise UserError(f"'{word}' is not understood; options are written --key=value.{nearest(word, COMMANDS)}")
        key, has_value, value = word[2:].partition("=")
        if not has_value:
            if not waiting or waiting[0].startswith("--"):
                raise UserError(f"--{key} has no value; write --{key}=value")
            value = waiting.pop(0)
        if keys.get(key, value) != value:
            raise UserError(f"--{key} is given twice: '{keys[key]}' and '{value}'")
        keys[key] = value
    return keys

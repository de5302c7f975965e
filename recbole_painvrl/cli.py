"""The command line: ``recbole-painvrl``, which is ``python run_recbole_painvrl.py``."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.files import no_room
from recbole_painvrl.model.allocator import keep_freed_memory
from recbole_painvrl.signals import first_of_several, terminable
from recbole_painvrl.tuning import flags as search_flags

if TYPE_CHECKING:
    from recbole_painvrl.comparison.plan import Command
    from recbole_painvrl.comparison.record import Record
    from recbole_painvrl.config import Config

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


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like every other mistake of a user."""

    def error(self, message: str) -> NoReturn:
        """Turns argparse's complaint into an error of this package.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Returns:
        Exit status: 0 done, 1 a run of several failed, 2 a user's mistake, 130 interrupted, 143 told to end, 141
        nobody reads the output any more.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    known = arguments and arguments[0] in COMMANDS
    return told(lambda: COMMANDS[arguments[0]](arguments[1:]) if known else _run(arguments))


def told(work: Callable[[], int]) -> int:
    """Does ``work`` and tells what went wrong in one line; returns the exit status.

    Of several processes only the first one tells, and is the only one to heed Ctrl-C: the others end with it.
    """
    keep_freed_memory()
    speaks = first_of_several()
    say = partial(print, file=sys.stderr if speaks else io.StringIO())
    if not speaks:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminable() if speaks else nullcontext():
            status = work()
            sys.stdout.flush()
            return status
    except UserError as error:
        say("error:", *str(error).splitlines())
        return 2
    except KeyboardInterrupt as interruption:
        say(str(interruption) or "interrupted")
        return getattr(interruption, "status", 130)
    except BrokenPipeError:
        # whoever read the output (head, less) has gone; the interpreter must not try to flush to it on exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (OSError, RuntimeError) as error:
        full = no_room(error)
        if full is None:
            raise
        say(f"error: {full}")
        return 2


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


def _run(arguments: Sequence[str]) -> int:
    flags, rest = _parser().parse_known_args(arguments)
    keys = configuration_keys(rest)
    if isinstance(flags.resume, str):
        return _resume(flags, keys)
    from recbole_painvrl.comparison.compare import compare
    from recbole_painvrl.comparison.plan import Command

    models, datasets, seeds = _listed(flags.model), _listed(flags.dataset), _seeds(flags.seeds, keys)
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


def _listed(text: str | None) -> tuple[str | None, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else (None,)


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


def _convert(arguments: Sequence[str]) -> int:
    from recbole_painvrl.convert import add_arguments, run

    parser = Parser(prog="recbole-painvrl convert", description="Turn raw data into a data folder.", allow_abbrev=False)
    add_arguments(parser)
    run(parser.parse_args(arguments))
    return 0


def _split(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="recbole-painvrl split",
        description="Hold out an out-of-distribution test set and write all sets as a new data folder. Any option of "
        "the kind (--share=0.1) and any key of the configuration (--seed=1, --data_path=dataset) may be given too.",
        allow_abbrev=False,
    )
    parser.add_argument("dataset", metavar="DATASET", help="the data set to split")
    parser.add_argument("--kind", required=True, help="popularity, time, cold_items, ...; see README")
    parser.add_argument("--name", required=True, help="name of the data set to write")
    parser.add_argument("--split_seed", type=int, metavar="N", help="ood_split.seed (default 2023)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of this name")
    flags, rest = parser.parse_known_args(arguments)
    from recbole_painvrl.data.splits.command import run

    run(flags.dataset, flags.kind, flags.name, flags.split_seed, flags.overwrite, configuration_keys(rest))
    return 0


def _simulate(arguments: Sequence[str]) -> int:
    from recbole_painvrl.simulate import add_arguments, run

    parser = Parser(prog="recbole-painvrl simulate", description="Make data of known truth.", allow_abbrev=False)
    add_arguments(parser)
    run(parser.parse_args(arguments))
    return 0


def _recommend(arguments: Sequence[str]) -> int:
    from recbole_painvrl.recommend_command import add_arguments, run

    parser = Parser(prog="recbole-painvrl recommend", description="Top-k items of a trained model.", allow_abbrev=False)
    add_arguments(parser)
    run(parser.parse_args(arguments))
    return 0


def _report(arguments: Sequence[str]) -> int:
    from recbole_painvrl.report.command import add_arguments, run

    parser = Parser(prog="recbole-painvrl report", description="Tables and pictures of runs.", allow_abbrev=False)
    add_arguments(parser)
    run(parser.parse_args(arguments))
    return 0


def _doctor(arguments: Sequence[str]) -> int:
    Parser(prog="recbole-painvrl doctor", description="Say what of this package is usable here.").parse_args(arguments)
    from recbole_painvrl.doctor import run

    return int(run() or 0)


COMMANDS = {
    "convert": _convert,
    "simulate": _simulate,
    "split": _split,
    "recommend": _recommend,
    "report": _report,
    "doctor": _doctor,
}

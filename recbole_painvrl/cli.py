"""The command line: ``recbole-painvrl``, which is ``python run_recbole_painvrl.py``."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

from recbole_painvrl import run_command
from recbole_painvrl.allocator import keep_freed_memory
from recbole_painvrl.errors import UserError
from recbole_painvrl.files import no_room
from recbole_painvrl.parser import Parser
from recbole_painvrl.signals import first_of_several, terminable


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
    return told(lambda: COMMANDS[arguments[0]](arguments[1:]) if known else run_command.run(arguments))


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
        message = no_room(error)
        if message is None and isinstance(error, PermissionError) and error.filename is not None:
            message = UserError(f"{error.filename}: {error.strerror}; look at its permissions and owner")
        if message is None:
            raise
        say(f"error: {message}")
        return 2


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

    run(flags.dataset, flags.kind, flags.name, flags.split_seed, flags.overwrite, run_command.configuration_keys(rest))
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

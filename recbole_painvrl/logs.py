"""RecBole's log lines and file names and its TensorBoard folders, below ``output_dir`` instead of the work folder."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import colorlog
import recbole.trainer.trainer
from recbole.utils import get_local_time
from recbole.utils.logger import RemoveColorFilter, log_colors_config
from torch.utils.tensorboard import SummaryWriter

from recbole_painvrl.errors import UserError
from recbole_painvrl.files import no_room
from recbole_painvrl.signals import signals_later

LINE = "%(asctime)-15s %(levelname)s  %(message)s"

_handlers: list[logging.Handler] = []
_levels: list[int] = []  # of the root logger before a run


def start_logging(config: Any, digest: str) -> None:
    """Logs to the terminal and to ``<output_dir>/log/<Model>/<Model>-<dataset>-<time>-<seed>-<digest>.log``.

    Handlers of an earlier run of this process are closed first; RecBole's ``init_logger`` would go on writing the
    earlier run's file. Handlers of others are left alone.

    Raises:
        UserError: The file cannot be written.
    """
    root = logging.getLogger()
    stop_logging()
    folder = Path(config["output_dir"]) / "log" / config["model"]
    # seeds of one configuration, started in the same second, have files of their own
    name = f"{config['model']}-{config['dataset']}-{get_local_time()}-{config['seed']}-{digest[:6]}"
    file = folder / f"{name}.log"
    _handlers.append(_terminal_handler())  # first: the file's filter takes the colors out of the record itself
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _handlers.append(_file_handler(file))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"output_dir: cannot write {file} ({reason}); choose another with --output_dir") from error
    level = getattr(logging, str(config["state"] or "info").upper(), logging.INFO)
    _levels.append(root.level)
    root.setLevel(level)
    for handler in _handlers:
        handler.setLevel(level)
        root.addHandler(handler)


def silence() -> None:
    """Keeps a process whose first companion speaks for all from logging anything."""
    logging.getLogger().setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def stop_logging() -> None:
    """Closes what :func:`start_logging` opened."""
    while _levels:
        logging.getLogger().setLevel(_levels.pop())
    while _handlers:
        handler = _handlers.pop()
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # a full disk, which was told when the line was logged
            handler.close()


class _LogFile(logging.FileHandler):
    """A log file whose disk may be full: that is told in one line, where ``logging`` would print a traceback a line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Raises a UserError for a full disk."""
        told = no_room(sys.exc_info()[1], self.baseFilename)
        if told:
            raise told
        super().handleError(record)


def _file_handler(file: Path) -> logging.Handler:
    handler = _LogFile(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter(LINE, "%a %d %b %Y %H:%M:%S"))
    handler.addFilter(RemoveColorFilter())
    return handler


def _terminal_handler() -> logging.Handler:
    handler = logging.StreamHandler()
    if handler.stream.isatty():
        colored = colorlog.ColoredFormatter(f"%(log_color)s{LINE}", "%d %b %H:%M", log_colors=log_colors_config)
        handler.setFormatter(colored)
    else:
        handler.setFormatter(logging.Formatter(LINE, "%d %b %H:%M"))
        handler.addFilter(RemoveColorFilter())
    return handler


class Board(SummaryWriter):
    """A TensorBoard writer that signals do not interrupt.

    It hands events to a thread of its own by a queue. An exception in the middle of that can lose the word that wakes
    the thread up, for which closing the writer would then wait for minutes.
    """

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Writes a number."""
        with signals_later():
            super().add_scalar(*args, **kwargs)

    def add_histogram(self, *args: Any, **kwargs: Any) -> None:
        """Writes a histogram."""
        with signals_later():
            super().add_histogram(*args, **kwargs)

    def add_hparams(self, *args: Any, **kwargs: Any) -> None:
        """Writes hyper-parameters."""
        with signals_later():
            super().add_hparams(*args, **kwargs)

    def close(self) -> None:
        """Writes what is left and ends the thread."""
        with signals_later():
            super().close()


class NoBoard:
    """What writes to no TensorBoard."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""

    add_histogram = add_hparams = close = add_scalar


@contextmanager
def tensorboard_below(folder: str | Path, writes: bool = True) -> Iterator[None]:
    """Makes trainers constructed meanwhile write to ``<folder>/log_tensorboard/<log name>``, or nowhere.

    RecBole's trainer opens its board in the constructor, always in the working directory, and offers no other way in.
    """
    stock = recbole.trainer.trainer.get_tensorboard

    def below(logger: logging.Logger) -> Board | NoBoard:
        if not writes:
            return NoBoard()
        files = [handler.baseFilename for handler in logger.handlers if hasattr(handler, "baseFilename")]
        name = Path(files[0]).stem if files else f"model-{get_local_time()}"
        return Board(str(Path(folder) / "log_tensorboard" / name))

    recbole.trainer.trainer.get_tensorboard = below
    try:
        yield
    finally:
        recbole.trainer.trainer.get_tensorboard = stock

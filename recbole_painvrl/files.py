"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from recbole_painvrl.errors import UserError
from recbole_painvrl.signals import signals_later

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside ``path`` and gives it that name once everything is written and on the disk.

    SIGINT and SIGTERM wait until then: libraries that write turn an exception in between into another one, or lose it.

    Raises:
        UserError: The disk is full; the file that was there before is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with signals_later():
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _named(error: OSError, path: Path) -> Exception:
    if error.errno in NO_ROOM:
        return UserError(f"{path}: the disk is full; free some space and run again, or choose another --output_dir")
    return error

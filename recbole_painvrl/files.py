"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from recbole_painvrl.errors import UserError
from recbole_painvrl.signals import signals_later

OUTPUT_DIR = "--output_dir"  # where nearly all files go
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
# What numpy raises about a damaged .npy file; its header is read by Python's tokenizer, a zip file is taken for .npz.
DAMAGED_ARRAY = (
    ValueError, EOFError, OSError, TypeError, OverflowError, MemoryError, RecursionError, SyntaxError,
    tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip


@contextmanager
def atomic_file(path: str | Path, flag: str = OUTPUT_DIR) -> Iterator[BinaryIO]:
    """Opens a temporary file beside ``path`` and gives it that name once everything is written and on the disk.

    SIGINT and SIGTERM wait until then: libraries that write turn an exception in between into another one, or lose it.

    Args:
        path: The file.
        flag: The flag of the command line that says where it goes, for messages.

    Raises:
        UserError: The disk is full or read-only; the file that was there before is untouched.
    """
    path = Path(path)
    # random, as processes on other machines that share the disk have the same numbers
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
    try:
        with signals_later():
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        told = _write_fault(error, path, flag)
        if told:
            raise told from error
        raise
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def check_target(path: str | Path, flag: str, folder: bool = False) -> None:
    """Makes sure, before long work begins, that its result can be put where the user says; leaves nothing there.

    Args:
        path: The file, or the folder; folders above it need not exist.
        flag: The flag that says so, for messages.
        folder: Whether it is to be a folder.

    Raises:
        UserError: The other one of the two is there, a folder above it is none, or it cannot be written to.
    """
    path = Path(path)
    try:
        if path.exists() and path.is_dir() != folder:
            found, expected = ("a file", "a folder") if folder else ("a folder", "a file")
            raise UserError(f"{flag}={path}: is {found}, expected {expected}; choose another")
        above = next(one for one in (path.absolute(), *path.absolute().parents) if one.is_dir())
        ends_in_file = next((one for one in path.absolute().parents if one.is_file()), None)
    except OSError as error:
        raise UserError(f"{flag}={path}: cannot be used ({error.strerror or error}); choose another") from error
    if ends_in_file:
        raise UserError(f"{flag}={path}: {ends_in_file} is a file, no folder; choose another")
    try:
        with TemporaryFile(dir=above):  # permissions alone do not tell it, of file systems that are read-only
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{flag}={path}: {above} cannot be written to ({reason}); choose another") from error


def unfinished_files(folder: Path) -> list[Path]:
    """Returns the temporary files that :func:`atomic_file` left in a folder when its process was killed."""
    return sorted(folder.glob(".*.part"))


def append(path: Path, line: bytes) -> None:
    """Adds a line to a file, all of it or nothing.

    Raises:
        UserError: The disk is full or read-only; the file is as it was.
    """
    try:
        with signals_later(), open(path, "ab", buffering=0) as file:
            before = file.tell()
            try:
                written = file.write(line)
                if written < len(line):  # the disk took a part: what is missing tells why
                    file.write(line[written:])
            except OSError:
                file.truncate(before)
                raise
    except OSError as error:
        told = _write_fault(error, path)
        if told:
            raise told from error
        raise


def _sync_folder(folder: Path) -> None:
    """Puts the new name on the disk; where folders cannot be opened (Windows), the file system has to do."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that do not do this for folders
            raise
    finally:
        os.close(descriptor)


def _write_fault(error: Exception, path: Path, flag: str = OUTPUT_DIR) -> UserError | None:
    if isinstance(error, OSError) and error.errno in READ_ONLY:
        return UserError(f"{path}: cannot be written ({error.strerror}); choose another {flag}")
    return no_room(error, path, flag)


def no_room(error: BaseException | None, path: Path | str = "", flag: str = OUTPUT_DIR) -> UserError | None:
    """Returns what to tell the user if a full disk is behind an exception, otherwise None.

    Args:
        error: The exception; torch and TensorBoard turn the system's one into others, of which it is the context.
        path: The file, if the exception may not know it.
        flag: The flag of the command line that says where it goes.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return UserError(
                f"{path or error.filename or 'output_dir'}: the disk is full ({error.strerror}); free some space and "
                f"run again, or choose another {flag}"
            )
        error = error.__cause__ or error.__context__
    return None

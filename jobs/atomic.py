"""Files that are either whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_COPIED_AT_ONCE = 1 << 20


def write_atomically(path: Path, data: bytes | memoryview, mode_of: Path | None = None) -> None:
    """Write ``data`` as ``path``, replacing what is there; an interruption or a full disk leaves the old file.

    Missing folders are made. A file that is replaced keeps its permissions.

    Args:
        mode_of: a new file gets the permissions of this one, as far as the umask allows and writable for its owner;
            None: those that any new file gets.

    Raises:
        PermissionError: the file that is there is write-protected.
        OSError: the folder cannot be made or written to, or the disk is full; names ``path``.
    """
    _write(path, lambda file: file.write(data), mode_of)


def copy_atomically(source: Path, path: Path) -> None:
    """Copy ``source`` to ``path`` in the same manner, with the permissions of ``source`` if ``path`` is new.

    Raises:
        OSError: as ``write_atomically``; or ``source`` cannot be read.
    """
    with source.open("rb") as original:
        _write(path, lambda file: shutil.copyfileobj(original, file, _COPIED_AT_ONCE), source)


def refuse_protected(path: Path) -> None:
    """Refuse to replace a file that nobody may write to, or not this user; no such file is fine.

    Raises:
        PermissionError: it is write-protected.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        # the superuser may write anything: a file without any write bit was protected on purpose
        if not path.stat().st_mode & _WRITE_BITS or not os.access(path, os.W_OK):
            raise PermissionError(
                13, "the file is write-protected; name another output or change its permissions", str(path)
            )


def _write(path: Path, fill: Callable[[BinaryIO], object], mode_of: Path | None) -> None:
    refuse_protected(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.resolve()  # through a symbolic link, the file behind it is replaced and the link stays
        old = _mode(target)
        mode = _mode_for_new(mode_of) if old is None else old
        beside = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
        try:
            # never readable for more people than the file will be
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
            with open(descriptor, "wb") as file:  # noqa: PTH123 (Path has no open for a descriptor)
                if old is not None:
                    _keep(file, target, old)
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        finally:  # also on Ctrl-C
            beside.unlink(missing_ok=True)
    except OSError as error:
        # a full disk names no file, a rename names the temporary one
        raise type(error)(error.errno, error.strerror or str(error), str(path)) from error


def _mode(path: Path | None) -> int | None:
    try:
        return None if path is None else stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _mode_for_new(mode_of: Path | None) -> int:
    """What ``os.open`` takes the umask from."""
    mode = _mode(mode_of)
    return 0o666 if mode is None else mode & 0o666 | stat.S_IWUSR


def _keep(file: BinaryIO, target: Path, mode: int) -> None:
    """Owner, where this user may give files away, and permissions of the file that is replaced."""
    if hasattr(os, "fchown"):
        status = target.stat()
        with contextlib.suppress(PermissionError):
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
        os.fchmod(file.fileno(), mode)

"""The partial file of a download, which one process at a time may write."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PERIOD = 0.2  # seconds between two looks at a lock that another process holds


@contextlib.contextmanager
def partial_file(target: Path, while_waiting: Callable[[Path], None]) -> Iterator[Path]:
    """The path to download into: ``<target>.part``, ours alone until the context ends, however it ends.

    The lock is the system's own, so it goes with a process that is killed. On file systems without locks the file is
    one of this process instead; nobody goes on with it later, so it is removed.

    Args:
        target: the name that the complete file will get.
        while_waiting: called again and again with the path while another process writes it.
    """
    part = target.with_name(target.name + ".part")
    lock = target.with_name(target.name + ".part.lock")
    try:
        descriptor = _acquire(lock, lambda: while_waiting(part))
    except OSError:
        own = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            yield own
        finally:
            own.unlink(missing_ok=True)
        return
    try:
        yield part
    finally:
        _release(lock, descriptor)


def _acquire(lock: Path, while_waiting: Callable[[], None]) -> int:
    """Take the lock, and make its file.

    Raises:
        OSError: the file system has no locks.
    """
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
        try:
            # the one before us removes the file when it is done: then this lock is on a file without a name
            taken = _try_lock(descriptor) and _is_named(lock, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if taken:
            return descriptor
        os.close(descriptor)
        while_waiting()
        time.sleep(_PERIOD)


def _release(lock: Path, descriptor: int) -> None:
    if os.name != "nt":
        lock.unlink(missing_ok=True)
    os.close(descriptor)
    if os.name == "nt":
        with contextlib.suppress(OSError):  # Windows removes no file that somebody has open: it is theirs now
            lock.unlink()


def _is_named(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import errno
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

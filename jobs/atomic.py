"""Files that are either whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` as ``path``, replacing what is there; an interruption or a full disk leaves the old file.

    Missing folders are made. The file gets the permissions that any new file gets.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()  # through a symbolic link, the file behind it is replaced and the link stays
    beside = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:  # also on Ctrl-C
        beside.unlink(missing_ok=True)

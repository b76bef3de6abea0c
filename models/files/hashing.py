"""SHA-256 of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

_BLOCK = 1 << 20


def sha256_of(path: Path | str, on_progress: Callable[[int, int | None], None] | None = None) -> str:
    """The SHA-256 of a file in lower-case hexadecimal.

    Args:
        path: the file.
        on_progress: called with (bytes done, bytes in all).
    """
    path = Path(path)
    total = path.stat().st_size
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if on_progress is not None:
                on_progress(done, total)
    return digest.hexdigest()

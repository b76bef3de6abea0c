"""Paths told apart: by their spelling and by the file behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def absolute(path: Path) -> str:
    """One spelling per path, links not followed: two links to one file are two pictures."""
    return os.path.normcase(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)


def identity_of(path: Path) -> tuple[int, int] | None:
    """What tells files and folders apart, through links and in any spelling; None where there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None
    return status.st_dev, status.st_ino


def parents_of(path: Path) -> Iterator[Path]:
    """The folder of a file and all above it, the nearest first."""
    yield from Path(os.path.abspath(path)).parents  # noqa: PTH100 (resolve would follow links)

"""A progress bar over bytes, on standard error, where somebody is watching."""

from __future__ import annotations

import sys
import time

_WIDTH = 24
_PERIOD = 0.1  # seconds between two drawings


class DownloadBar:
    """Call it with (bytes done, bytes in all or None); silent where standard error is no terminal.

    Args:
        label: what is being fetched.
        quiet: never draw.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self.label = label
        self.shown = not quiet and sys.stderr.isatty()
        self._drawn = False
        self._last = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if not self.shown or (now - self._last < _PERIOD and done != total):
            return
        self._last = now
        if total:
            filled = _WIDTH * done // total
            amount = f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {done / 1e6:.1f} of {total / 1e6:.1f} MB"
        else:
            amount = f"{done / 1e6:.1f} MB"
        print(f"\r{self.label} {amount}", end="", file=sys.stderr, flush=True)
        self._drawn = True

    def close(self) -> None:
        """End the line."""
        if self._drawn:
            print(file=sys.stderr)
            self._drawn = False

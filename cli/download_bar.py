"""A progress bar over bytes, on standard error, where it is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


class DownloadBar:
    """Call it with (bytes done, bytes in all or None); silent where standard error is no terminal.

    Args:
        label: what is being fetched.
        quiet: never draw.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self.label = label
        self.shown = not quiet and sys.stderr.isatty()
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int | None) -> None:
        if not self.shown:
            return
        if self._bar is None:
            from tqdm import tqdm

            # a download that goes on starts where it stopped, so that the rate is that of the network
            self._bar = tqdm(desc=self.label, total=total, initial=done, unit="B", unit_scale=True, file=sys.stderr)
        if total != self._bar.total or done < self._bar.n:  # another link, which starts again
            self._bar.total = total
            self._bar.n = done
            self._bar.refresh()
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

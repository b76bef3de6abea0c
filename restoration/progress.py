"""How far a run is, in steps of a thousandth of a frame."""

from __future__ import annotations

from torch import Tensor

from .callbacks import OnProgress

_STEPS = 1000  # per frame
_DETECTING = 300  # of them: detection's share, so that the bar moves while nothing is restored


class Progress:
    """Turns what was done into ``on_progress(done, total, preview)``; ``done`` never falls.

    Args:
        frames: how many there are; None where nobody knows: then ``total`` is what has entered so far.
    """

    def __init__(self, on_progress: OnProgress, frames: int | None) -> None:
        self._on_progress, self._frames = on_progress, frames
        self._entered = 0
        self._done = 0.0

    def detected(self, faces: int) -> None:
        """A frame was looked at; one without a face to restore is done."""
        self._entered += 1
        self._tell(_DETECTING if faces else _STEPS, None)

    def restored(self, faces: int, preview: Tensor | None) -> None:
        """One of a frame's ``faces`` was restored."""
        self._tell((_STEPS - _DETECTING) / faces, preview)

    def end(self) -> None:
        """Everything is done."""
        total = max(1, self._total())
        self._on_progress(total, total, None)

    def _tell(self, more: float, preview: Tensor | None) -> None:
        self._done += more
        total = max(1, self._total())
        self._on_progress(min(int(self._done + 0.5), total), total, preview)

    def _total(self) -> int:
        return _STEPS * (self._entered if self._frames is None else self._frames)

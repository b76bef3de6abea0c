"""The callables that a host hands in: progress, cancel, freeing memory. The pack knows no host.

``check_cancel()`` raises whatever the host raises when the user cancelled. It is asked for every frame, before every
pass of a detector, and between the levels and strips of the network, so that it acts within one face.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..models import CheckCancel, never_cancelled

__all__ = ["CancelWatch", "CheckCancel", "FreeMemory", "OnProgress", "never_cancelled", "no_progress"]

OnProgress = Callable[[int, int, "torch.Tensor | None"], None]
"""``on_progress(done, total, preview)``; the preview is the face just restored, (S,S,3) in 0…1, or None."""

FreeMemory = Callable[[int], None]
"""``free_memory(bytes)``: the host makes room on the network's device and brings the network there."""


def no_progress(done: int, total: int, preview: torch.Tensor | None) -> None:
    """A progress callback for when nobody watches."""


class CancelWatch:
    """A ``check_cancel`` that remembers what it raised: a cancel is no failure of the frame that it interrupts."""

    def __init__(self, check_cancel: CheckCancel) -> None:
        self._check_cancel = check_cancel
        self._raised: BaseException | None = None

    def __call__(self) -> None:
        """Ask, and let what is raised pass."""
        try:
            self._check_cancel()
        except BaseException as error:
            self._raised = error
            raise

    def pass_on(self, error: BaseException) -> None:
        """Raise ``error`` again where it, or what caused it, is the cancel."""
        cause: BaseException | None = error
        while cause is not None:
            if cause is self._raised:
                raise error
            cause = cause.__cause__ or cause.__context__

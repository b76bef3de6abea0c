"""The callables that a host hands in: progress, cancel, freeing memory. The pack knows no host.

``check_cancel()`` raises whatever the host raises when the user cancelled. It is asked for every frame, before every
pass of a detector, and between the levels and strips of the network, so that it acts within one face.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..models import CheckCancel, never_cancelled

__all__ = ["CheckCancel", "FreeMemory", "OnProgress", "never_cancelled", "no_progress"]

OnProgress = Callable[[int, int, "torch.Tensor | None"], None]
"""``on_progress(done, total, preview)``; the preview is the face just restored, (S,S,3) in 0…1, or None."""

FreeMemory = Callable[[int], None]
"""``free_memory(bytes)``: the host makes room on the network's device before it runs."""


def no_progress(done: int, total: int, preview: torch.Tensor | None) -> None:
    """Nobody watches."""

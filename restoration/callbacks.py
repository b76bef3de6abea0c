"""The callables that a host hands in: progress, cancel, freeing memory. The pack knows no host."""

from __future__ import annotations

from collections.abc import Callable

import torch

OnProgress = Callable[[int, int, "torch.Tensor | None"], None]
"""``on_progress(done, total, preview)``; the preview is the face just restored, (S,S,3) in 0…1, or None."""

CheckCancel = Callable[[], None]
"""Raises whatever the host raises when the user cancelled; called for every frame and face."""

FreeMemory = Callable[[int], None]
"""``free_memory(bytes)``: the host makes room on the network's device before it runs."""


def no_progress(done: int, total: int, preview: torch.Tensor | None) -> None:
    """Nobody watches."""


def never_cancelled() -> None:
    """Nobody cancels."""

"""Live preview of the face just restored, which ends as the preview that the node keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from . import host


class LivePreview:
    """Progress callback of one run: moves the bar and shows each face but the last.

    A page keeps the last live preview: some draw it over the images that a node returns, others below them. So a run
    that showed one ends it with the final picture and returns no image; either way the node shows one picture.
    """

    def __init__(self) -> None:
        self._bar = host.progress()
        self._shown = False
        self._total = 1

    def __call__(self, done: int, total: int, face: torch.Tensor | None) -> None:
        """Move the bar to ``done`` of ``total``; ``face`` is (S,S,3) float in 0…1."""
        face = face if done < total else None
        self._shown |= face is not None
        self._total = total
        self._bar(done, total, face)

    def end(self, pictures: Sequence[Image.Image]) -> dict[str, Any]:
        """The node's ``ui``: these pictures, one at most, unless the live preview ends with it."""
        if self._shown and pictures:
            host.last_preview(pictures[0], self._total)
            return host.show([])
        return host.show(pictures)

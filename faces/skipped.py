"""A face that was found and left alone, and why: every filter says so, nothing disappears silently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .collection import Faces


@dataclass(frozen=True)
class Skipped:
    """One face, or a remark about a whole frame (then ``box`` and ``size`` are None).

    frame: index in the batch
    box: x0, y0, x1, y1 in photo coordinates
    size: side of the aligned square in pixels of the photo
    reason: a sentence's end, for the report
    """

    frame: int
    box: tuple[float, float, float, float] | None
    size: float | None
    reason: str


def skip_faces(faces: Faces, indexes: Iterable[int], reason: str) -> list[Skipped]:
    """One entry for each of the named faces, all for the same reason."""
    entries = []
    for index in indexes:
        x0, y0, x1, y1 = faces.boxes[index].tolist()
        frame, size = int(faces.frame_indices[index]), float(faces.sizes[index])
        entries.append(Skipped(frame, (x0, y0, x1, y1), size, reason))
    return entries

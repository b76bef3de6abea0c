"""The faces of a frame by a detector that looks for all sizes by itself: the whole picture in one pass."""

from __future__ import annotations

import numpy as np

from .detector import Detections, Passes
from .merging import merge, moved, take, turned_back, usable
from .views import cut, resized

ROOM = 0.25  # of the long side: grey around a picture in which a whole-picture detector found nothing
ROOMY_SIDE = 640  # its long side, with the room; what fills it is large


def find_whole(frame: np.ndarray, passes: Passes, threshold: float) -> tuple[Detections, int]:
    """The same for a detector that looks for all sizes by itself: the whole picture, as large as it takes.

    Where it finds nothing, the picture is shown smaller with room around it, for a face that fills it, in four turns.
    """
    height, width = frame.shape[:2]
    largest = int(passes.input_size or max(height, width))
    dropped = 0
    roomy = min(largest, ROOMY_SIDE) / (1 + 2 * ROOM)
    for quarters, side, room in ((0, largest, 0.0), *((turn, roomy, ROOM) for turn in range(4))):
        scale = min(1.0, side / max(height, width))
        picture = resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
        scales = np.array([picture.shape[1] / width, picture.shape[0] / height])
        margin = round(room * max(picture.shape[:2]))
        if margin:
            picture = cut(picture, -margin, -margin, picture.shape[1] + margin, picture.shape[0] + margin)
        seen = passes.detect(np.rot90(picture, quarters).copy(), threshold)
        good = usable(seen)
        dropped += int((~good).sum())
        seen = take(seen, good & (seen.scores >= threshold))
        if len(seen):
            seen = turned_back(take(seen, merge(seen)), quarters, (picture.shape[1], picture.shape[0]))
            return moved(seen, np.full(2, float(margin)), scales), dropped
    return Detections.empty(), dropped

"""Heads that lean: faces found close to 45 degrees are looked at upright, because both networks misplace their points.

SCRFD and YuNet see heads that lean by up to about 30 degrees as they are. Beyond that they still find them, but take
them for more upright than they are; YuNet's points of a head at 45 degrees lean by 16.
"""

from __future__ import annotations

import numpy as np

from .closeups import ASK, LARGE_CELL, CloseUp, see_cells
from .detector import Detections, Passes
from .merging import box_sides, join, moved, take, usable

STRAIGHT = 9.0  # degrees: a face that leans less in the look it was found in, from the next quarter turn, is kept
HYPOTHESES = (0.0, 15.0, 30.0, -12.0)  # degrees: how much more it may lean to its side than its points say
RESIDUAL = 9.0  # degrees: what a face may still lean in the look that turned it upright
_WIDER = 1.5  # a turned cell reaches into the corners of a square that much larger


def rolls(landmarks: np.ndarray) -> np.ndarray:
    """How faces (M, 5, 2) lean, in degrees, clockwise in the picture, -180 … 180: (M,)."""
    eyes, mouth = landmarks[:, 1] - landmarks[:, 0], landmarks[:, 4] - landmarks[:, 3]
    middle = landmarks[:, 3:].mean(1) - landmarks[:, :2].mean(1)
    across = eyes + mouth + np.stack([middle[:, 1], -middle[:, 0]], -1)  # the middle line turned onto the eyes' line
    return np.degrees(np.arctan2(across[:, 1], across[:, 0]))


def settle_tilts(frame: np.ndarray, found: Detections, passes: Passes, threshold: float) -> Detections:
    """The faces of a frame (H, W, 3) uint8 with those that lean looked at upright; what is no face there is left out.

    Each leaning face is shown turned back by what its points say, and by more and less. The surest of the looks in
    which it then stands upright counts. Cells share passes.
    """
    turn = rolls(found.landmarks)
    leans = np.abs((turn + 45) % 90 - 45) > STRAIGHT
    if not leans.any():
        return found
    side = np.sign((turn + 45) % 90 - 45)  # of the nearest quarter turn
    jobs = [
        (int(index), float(turn[index] + side[index] * more)) for index in np.flatnonzero(leans) for more in HYPOTHESES
    ]
    best: dict[int, Detections] = {}
    places = max(1, (passes.canvas or LARGE_CELL) // LARGE_CELL) ** 2
    for start in range(0, len(jobs), places):
        batch = jobs[start : start + places]
        cells = [_Turned(frame, found.boxes[index], angle) for index, angle in batch]
        for (index, _), cell, seen in zip(
            batch, cells, see_cells([cell.picture for cell in cells], passes, ASK), strict=True
        ):
            face = cell.upright(seen)
            if len(face) and (index not in best or face.scores[0] > best[index].scores[0]):
                best[index] = face
    settled = [
        Detections(face.boxes, face.landmarks, np.maximum(face.scores, 0) / 2 + found.scores[[index]] / 2)
        for index, face in sorted(best.items())
    ]
    result = join([take(found, ~leans), *settled])
    return take(result, usable(result) & (result.scores >= threshold))


class _Turned:
    """A close-up of a box, turned so that a face that leans by ``angle`` degrees stands upright."""

    def __init__(self, frame: np.ndarray, box: np.ndarray, angle: float) -> None:
        import cv2

        side = round(LARGE_CELL * _WIDER)
        self._closeup = CloseUp.of(frame, box, side)
        centre = (side / 2, side / 2)
        # Convention: cv2's matrices map pixel centres at whole numbers; half a pixel is taken off and put back
        matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
        matrix[:, 2] += (LARGE_CELL - side) / 2
        self._matrix = matrix
        at_centres = matrix.copy()
        at_centres[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        self.picture = cv2.warpAffine(
            self._closeup.cell,
            at_centres,
            (LARGE_CELL, LARGE_CELL),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def upright(self, seen: Detections) -> Detections:
        """The surest face (one or none) of those seen in the cell that stands upright there, on the photo."""
        seen = take(seen, usable(seen))
        seen = take(seen, self._closeup.fitting(seen, LARGE_CELL) & (np.abs(rolls(seen.landmarks)) < RESIDUAL))
        if not len(seen):
            return seen
        seen = take(seen, [int(np.argmax(seen.scores))])
        inverse = np.linalg.inv(self._matrix[:, :2])
        points = (seen.landmarks - self._matrix[:, 2]) @ inverse.T
        centre = ((seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2 - self._matrix[:, 2]) @ inverse.T
        half = box_sides(seen.boxes)[:, None] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        return moved(Detections(boxes, points, seen.scores), self._closeup.offset, self._closeup.scale)

"""The second look: every find close up, at the size a network sees best, in all four quarter turns.

A face that is one is found again, with better landmarks. A wheel or a collar usually is not. A network that takes an
upside-down face for an upright one, as both SCRFD and YuNet do, is surer of it when it is turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .detector import Detections, Passes
from .merging import box_sides, moved, take, turned_back, usable
from .views import GREY, cut, resized

LARGE_CELL, LARGE_FACE = 320, 200  # pixels: a close-up's side and the face's box in it; SCRFD dips near 150
SMALL_CELL, SMALL_FACE = 160, 64  # the same for faces whose enlargement to LARGE_FACE would be blur
SMALL_BELOW = 50  # pixels of the photo: the largest box that gets a small close-up
ASK = 0.1  # the score from which a face in a close-up is looked at, far below any threshold
_OFF_CENTRE = 0.4  # of the face's side in the close-up: a face further off is a neighbour
LYING = 50.0  # degrees: a face that still leans more than this in its close-up is seen in the wrong quarter turn
_OTHER_SIZE = 1.8  # factor: a box larger or smaller than this is another face


@dataclass(frozen=True)
class CloseUp:
    """A square cut around a box. Convention: photo = (cell - offset) / scale, per axis (x, y)."""

    cell: np.ndarray  # (S, S, 3) uint8
    offset: np.ndarray
    scale: np.ndarray
    face: float  # side of the box in the cell

    @staticmethod
    def of(frame: np.ndarray, box: np.ndarray) -> CloseUp:
        """Around a box (4,) with a positive area, from a frame (H, W, 3) uint8; grey beyond its border."""
        side = float(box_sides(box[None])[0])
        small = side < SMALL_BELOW
        cell, face = (SMALL_CELL, SMALL_FACE) if small else (LARGE_CELL, LARGE_FACE)
        scale = face / side
        left, top = (box[:2] + box[2:]) / 2 - cell / 2 / scale
        x0, y0 = max(math.floor(left), 0), max(math.floor(top), 0)
        x1 = min(math.ceil(left + cell / scale), frame.shape[1])
        y1 = min(math.ceil(top + cell / scale), frame.shape[0])
        if x0 >= x1 or y0 >= y1:  # wholly outside the frame
            return CloseUp(np.full((cell, cell, 3), GREY, dtype=np.uint8), np.zeros(2), np.ones(2), face)
        part = frame[y0:y1, x0:x1]
        part = resized(part, (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))))
        scales = np.array([part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0)])
        # whole pixels, so that nothing is resampled twice
        shift = np.round((np.array([x0, y0]) - [left, top]) * scales).astype(int)
        picture = cut(part, -shift[0], -shift[1], cell - shift[0], cell - shift[1])
        return CloseUp(picture, shift - np.array([x0, y0]) * scales, scales, face)

    def best(self, seen: Detections, quarters: int) -> Detections:
        """The surest face (one or none) of those seen in the cell turned by ``quarters``, on the photo.

        The face has to be in the middle and of about the size of the box that was cut out.
        """
        seen = take(seen, usable(seen))
        size = self.cell.shape[0]
        centres = (seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2
        sides = box_sides(seen.boxes) / self.face
        fits = (np.abs(centres - size / 2).max(1, initial=0) < _OFF_CENTRE * self.face) & (
            (sides < _OTHER_SIZE) & (sides > 1 / _OTHER_SIZE)
        )
        seen = take(seen, fits)
        if not len(seen):
            return seen
        seen = take(seen, [int(np.argmax(seen.scores))])
        return moved(turned_back(seen, quarters, (size, size)), self.offset, self.scale)


def look_again(
    frame: np.ndarray, boxes: np.ndarray, turns: list[tuple[int, ...]], passes: Passes
) -> list[dict[int, Detections]]:
    """Close-ups of boxes (M, 4) on a frame (H, W, 3) uint8, each in its own quarter turns.

    Returns one dictionary a box, in order: quarter turns (``np.rot90``) -> the face found so, on the photo, if any.
    Close-ups share passes of ``passes.canvas`` pixels.
    """
    found: list[dict[int, Detections]] = [{} for _ in boxes]
    for cell in (SMALL_CELL, LARGE_CELL):
        small = box_sides(boxes) < SMALL_BELOW
        chosen = np.flatnonzero(small if cell == SMALL_CELL else ~small).tolist()
        jobs = [(index, quarters) for index in chosen for quarters in turns[index]]
        places = ((passes.canvas or cell) // cell) ** 2
        for start in range(0, len(jobs), places):
            batch = jobs[start : start + places]
            closeups = {index: CloseUp.of(frame, boxes[index]) for index in dict.fromkeys(i for i, _ in batch)}
            cells = [np.rot90(closeups[index].cell, quarters) for index, quarters in batch]
            for (index, quarters), seen in zip(batch, see_cells(cells, passes, ASK), strict=True):
                best = closeups[index].best(seen, quarters)
                if len(best):
                    found[index][quarters] = best
    return found


def see_cells(cells: list[np.ndarray], passes: Passes, threshold: float) -> list[Detections]:
    """One pass over several square pictures of one size, side by side on grey; what is seen in each, in its pixels."""
    size = cells[0].shape[0]
    per_row = max(1, (passes.canvas or size) // size)
    rows, columns = -(-len(cells) // per_row), min(per_row, len(cells))
    canvas = np.full((rows * size, columns * size, 3), GREY, dtype=np.uint8)
    corners = [(place // per_row * size, place % per_row * size) for place in range(len(cells))]
    for (top, left), cell in zip(corners, cells, strict=True):
        canvas[top : top + size, left : left + size] = cell
    seen = passes.detect(canvas, threshold)
    centres = np.nan_to_num((seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2, nan=-1.0)
    parts = []
    for top, left in corners:
        here = np.all((centres >= [left, top]) & (centres < [left + size, top + size]), axis=1)
        parts.append(moved(take(seen, here), np.array([left, top]), np.ones(2)))
    return parts


def leaning(face: Detections, quarters: int) -> bool:
    """Whether a face on the photo, (1, …), would lean by more than ``LYING`` after that many quarter turns."""
    points = face.landmarks[0]
    x, y = (points[1] - points[0]) + (points[4] - points[3])
    roll = np.degrees(np.arctan2(y, x)) - 90 * quarters  # np.rot90 turns counter-clockwise, angles run clockwise
    return abs((roll + 180) % 360 - 180) > LYING

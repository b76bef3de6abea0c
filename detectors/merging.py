"""Many looks at the same faces become one list: no doubles, no partial faces, nothing degenerate."""

from __future__ import annotations

import numpy as np

from .detector import Detections

SAME_BOX = 0.4  # intersection over union from which two boxes are one face
INSIDE = 0.7  # part of a box that lies in another from which it is a part of that face
NEAR = 0.35  # distance of two landmark centres, in sides of the larger box, below which they are one face
FLATTEST = 0.04  # width to height of the landmarks, 1 for a frontal face, about 0.2 for a strict profile
_REACH = 1.5  # the landmarks' centre lies within this many half sides of the box's centre
_LARGEST = 1e7  # pixels; no photo is larger, and squares of it are far from overflowing

# any upright face will do here: this asks only whether points are turned over or on one line
_FACE = np.array([[-1.0, -1.1], [1.0, -1.1], [0.0, 0.0], [-0.8, 1.1], [0.8, 1.1]])


def usable(detections: Detections) -> np.ndarray:
    """Which detections are faces at all. (M,) bool.

    Not usable: NaN or infinite values, a box of no width or height, landmarks that coincide, lie on one line, are
    mirrored (left and right swapped) or lie elsewhere than the box.

    Convention: the linear map L that carries an upright face's points onto the landmarks best has det L > 0 exactly
    where the points are not turned over (x to the right, y down); det L relative to |L|² is 1/2 for a
    similarity and about the squeezing of a face that is squeezed into a line.
    """
    boxes, points, scores = detections.boxes, detections.landmarks, detections.scores
    with np.errstate(all="ignore"):  # garbage in, False out
        finite = np.isfinite(boxes).all(1) & np.isfinite(points).all((1, 2)) & np.isfinite(scores)
        finite &= (np.abs(boxes) < _LARGEST).all(1) & (np.abs(points) < _LARGEST).all((1, 2))
        points = np.where(finite[:, None, None], points, 0.0)
        boxes = np.where(finite[:, None], boxes, 0.0)
        sides = boxes[:, 2:] - boxes[:, :2]
        centres = points.mean(1)
        face = _FACE - _FACE.mean(0)
        linear = np.swapaxes(points - centres[:, None], 1, 2) @ face @ np.linalg.inv(face.T @ face)  # (M, 2, 2)
        size = (linear**2).sum((1, 2))
        turned = np.linalg.det(linear) > FLATTEST / 2 * size
        large = size > 1e-6 * np.maximum(1.0, (np.abs(points).max((1, 2)) * 1e-3) ** 2)
        there = np.all(np.abs(centres - (boxes[:, :2] + boxes[:, 2:]) / 2) <= _REACH * sides / 2, axis=1)
        return finite & np.all(sides > 0, axis=1) & turned & large & there


def box_sides(boxes: np.ndarray) -> np.ndarray:
    """(M, 4) -> (M,): the side of the square of the same area."""
    return np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1))


def merge(detections: Detections) -> list[int]:
    """Indexes of one detection a face, the best first; all of them must be ``usable``.

    Greedy by score. A detection is of a face that is already there where the boxes overlap by half, where one lies
    mostly inside the other, or where the landmarks' centres are close: two faces of a crowd are a box apart.
    Deterministic: equal scores go by area, then by position.
    """
    boxes, scores = detections.boxes, detections.scores
    sides, centres = box_sides(boxes), detections.landmarks.mean(1)
    order = np.lexsort((boxes[:, 1], boxes[:, 0], -sides, -scores))
    kept: list[int] = []
    for index in order.tolist():
        if not kept or not same_face(boxes[index], centres[index], boxes[kept], centres[kept]).any():
            kept.append(index)
    return kept


def same_face(box: np.ndarray, centre: np.ndarray, boxes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Whether a box (4,) with its landmarks' centre (2,) is the same face as each of boxes (K, 4). (K,) bool."""
    area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    shared = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(shared, 0, None).prod(1)
    larger = np.sqrt(np.maximum(area, areas))
    return (
        (shared > SAME_BOX * (area + areas - shared))
        | (shared > INSIDE * np.minimum(area, areas))
        | (np.linalg.norm(centres - centre, axis=1) < NEAR * larger)
    )


def join(parts: list[Detections]) -> Detections:
    """All detections of several passes, in their order."""
    if not parts:
        return Detections.empty()
    return Detections(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("boxes", "landmarks", "scores")))


def take(detections: Detections, index: np.ndarray | list[int]) -> Detections:
    """The detections of a list of indexes or of a mask."""
    if isinstance(index, list):
        index = np.array(index, dtype=np.int64)  # an empty list would be one of floats
    return Detections(detections.boxes[index], detections.landmarks[index], detections.scores[index])


def moved(detections: Detections, offset: np.ndarray, scale: np.ndarray) -> Detections:
    """From a view's pixels to the photo's. Convention: photo = (view - offset) / scale, per axis (x, y)."""
    boxes = (detections.boxes - np.tile(offset, 2)) / np.tile(scale, 2)
    return Detections(boxes, (detections.landmarks - offset) / scale, detections.scores)


def turned_back(detections: Detections, quarters: int, size: tuple[int, int]) -> Detections:
    """From a picture that was turned back to the picture itself.

    quarters: how often ``np.rot90`` turned it (counter-clockwise). size: (width, height) of the picture itself.

    Convention: a quarter turn carries (x, y) of a picture w wide to (y, w - x); this is its inverse.
    """
    width, height = size
    points = np.concatenate([detections.boxes.reshape(-1, 2, 2), detections.landmarks], axis=1)
    for quarter in range(quarters % 4, 0, -1):
        # before this quarter turn the picture had this width
        before = width if quarter % 2 else height
        points = np.stack([before - points[..., 1], points[..., 0]], axis=-1)
    corners = points[:, :2]
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1) if len(points) else detections.boxes
    return Detections(boxes, points[:, 2:], detections.scores)

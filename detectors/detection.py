"""Finding the faces of a batch of frames, whatever their size, place and turn."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch

from ..faces.collection import Faces
from ..faces.geometry.alignment import alignable
from ..faces.geometry.templates import template_points
from .closeups import ASK, leaning, look_again
from .detector import Detections, Detector
from .merging import box_sides, join, merge, moved, take, turned_back, usable
from .views import FULL_DETAIL, cut, resized, to_uint8, views

SUSPECT = 0.5  # of the threshold: where the first look has this score, the second decides
CLEAR = 0.3  # from this score and the threshold on, all finds get their second look,
MOST_SUSPECTS = 256  # of the others so many a frame, the best ones; noise and foliage have thousands
SURE = 0.75  # where no face has this score, the whole picture is looked at turned, too
UPRIGHT = 0.87  # a face with this score that does not lean needs no turned close-ups: upside down none reaches it
CLOSE = 0.1  # a turned close-up with a score less than this below the upright one gets a second one
TURNED_BY = 0.01  # what a turned look is worth less: upright where both are about equally sure
LEANS_BY = 0.15  # what a look is worth less where the face lies on its side in it
TURN_SIDE = 1056  # long side of a picture that is looked at turned, because nothing sure was found upright
ROOM = 0.25  # of the long side: grey around a picture in which a whole-picture detector found nothing
ROOMY_SIDE = 640  # its long side, with the room; what fills it is large
STEADY = 0.1  # of the box's side: how far the two looks' landmarks may be apart, on average, to be averaged

_logger = logging.getLogger(__name__)


def detect_faces(images: torch.Tensor, detector: Detector, threshold: float = 0.6, template: str = "gpen") -> Faces:
    """Find the faces in a batch of frames, frame by frame.

    A detector with a ``canvas`` (SCRFD, YuNet) looks at the whole picture at several sizes, at overlapping tiles where
    it is larger, and then once more at every find, close up, turned as well where that look leaves a doubt. A face
    counts where the mean of both looks reaches the threshold; that mean is its score. Where nothing sure is found, the
    whole picture is looked at turned by 90, 180 and 270 degrees. Any other detector sees the whole picture, and where
    it finds nothing, a smaller one with room around it, in all four turns.

    Args:
        images: (N, H, W, 3 or 4) float in [0, 1], RGB, on any device; values outside are clipped; alpha is ignored.
        detector: from ``load_detector``, or anything that is a :class:`Detector`.
        threshold: 0 … 1, the least score.
        template: a name of ``TEMPLATES``, for the alignment.

    Returns:
        The faces, by frame, the surest first; ``dropped`` counts the degenerate detections that were left out (NaN,
        infinite, empty box, landmarks that coincide, lie on one line or are mirrored). Deterministic.

    Convention: photo coordinates, (x, y) in pixels, continuous, the origin at the image's top-left corner.

    Raises:
        ValueError: not such a batch, a threshold outside 0 … 1, an unknown template, or NaN pixels (which frame).
    """
    if images.ndim != 4 or images.shape[-1] not in (3, 4) or images.numel() == 0:
        raise ValueError(f"expected images (N, H, W, 3 or 4), at least one pixel, got {tuple(images.shape)}")
    if not images.dtype.is_floating_point:
        raise ValueError(f"expected images of floats in [0, 1], got {images.dtype}: divide 8-bit values by 255")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"expected a threshold in 0 … 1, got {threshold}")
    target = template_points(template)
    parts, frame_indices, dropped = [], [], 0
    find = _find_by_views if hasattr(detector, "canvas") else _find_whole
    for index, image in enumerate(images):
        found, bad = find(to_uint8(image, index), detector, threshold)
        fits = alignable(torch.from_numpy(found.landmarks), target).numpy()
        dropped += bad + int((~fits).sum())
        parts.append(take(found, fits))
        frame_indices += [index] * len(parts[-1])
    faces = join(parts)
    if dropped:
        _logger.info("%s: %d degenerate detections left out", detector.name, dropped)
    result = Faces.from_landmarks(
        faces.landmarks,
        torch.tensor(frame_indices, dtype=torch.int64),
        (images.shape[1], images.shape[2]),
        template,
        boxes=faces.boxes,
        scores=faces.scores,
        frame_count=len(images),
    )
    return replace(result, dropped=dropped, detector=detector.name)


def _find_by_views(frame: np.ndarray, detector: Detector, threshold: float) -> tuple[Detections, int]:
    """The faces of a frame (H, W, 3) uint8 and how many detections were degenerate; for networks with a canvas."""
    suspects, dropped = _suspects(frame, detector, threshold)
    found = _confirmed(frame, suspects, detector, threshold)
    if found.scores.max(initial=0.0) >= SURE:
        return found, dropped
    height, width = frame.shape[:2]
    scale = min(1.0, TURN_SIDE / max(height, width))
    smaller = resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
    scales = np.array([smaller.shape[1] / width, smaller.shape[0] / height])
    turned = []
    for quarters in (1, 2, 3):
        seen, bad = _suspects(np.rot90(smaller, quarters).copy(), detector, threshold, TURN_SIDE)
        seen = turned_back(seen, quarters, (smaller.shape[1], smaller.shape[0]))
        turned.append(moved(seen, np.zeros(2), scales))
        dropped += bad
    suspects = join(turned)
    found = join([found, _confirmed(frame, take(suspects, merge(suspects)), detector, threshold)])
    return take(found, merge(found)), dropped


def _suspects(
    frame: np.ndarray, detector: Detector, threshold: float, detail: int = FULL_DETAIL
) -> tuple[Detections, int]:
    """What may be a face in any view of the frame, one detection a face, the best first; and the degenerate ones."""
    parts, dropped = [], 0
    for view in views(frame, detail):
        seen = detector.detect(view.picture, max(SUSPECT * threshold, ASK))
        good = usable(seen)
        dropped += int((~good).sum())
        seen = take(seen, good)
        # a box over a tile's edge is a part of a face that another tile or a coarser level shows whole
        height, width = view.picture.shape[:2]
        over = np.concatenate([seen.boxes[:, :2] < 0, seen.boxes[:, 2:] > [width, height]], axis=1)
        whole = ~np.any(over & view.inner, axis=1)
        parts.append(moved(take(seen, whole), view.offset, view.scale))
    seen = join(parts)
    return take(seen, merge(seen)), dropped


def _confirmed(frame: np.ndarray, suspects: Detections, detector: Detector, threshold: float) -> Detections:
    """Those suspects that are found again close up, turned as they are, one detection a face."""
    clear = int((suspects.scores >= max(threshold, CLEAR)).sum())
    suspects = take(suspects, np.arange(min(len(suspects), clear + MOST_SUSPECTS)))
    looks = look_again(frame, suspects.boxes, [(0,)] * len(suspects), detector)
    upright = {i: _mean(take(suspects, [i]), seen[0]) for i, seen in enumerate(looks) if 0 in seen}
    sure = {i for i, face in upright.items() if face.scores[0] >= UPRIGHT and not leaning(face, 0)}
    doubts = [i for i in range(len(suspects)) if i not in sure]
    turned = look_again(frame, suspects.boxes[doubts], [(1, 2, 3)] * len(doubts), detector)
    for i, seen in zip(doubts, turned, strict=True):
        looks[i].update(seen)
    settled = _turned(frame, [(looks[i], upright.get(i)) for i in doubts], detector)
    found = join([upright[i] for i in sorted(sure)] + [face for face in settled if face is not None])
    found = take(found, usable(found) & (found.scores >= threshold))
    return take(found, merge(found))


def _turned(
    frame: np.ndarray, doubts: list[tuple[dict[int, Detections], Detections | None]], detector: Detector
) -> list[Detections | None]:
    """Which way up doubtful faces are: the surest after a second close-up in every turn that may be the right one.

    doubts: for each its close-ups by quarter turns, and the mean of the first look and the upright close-up, if any.
    """
    asked: list[tuple[int, int]] = []
    for i, (seen, _) in enumerate(doubts):
        least = float(seen[0].scores[0]) - CLOSE if 0 in seen else 0.0
        asked += [(i, turn) for turn, face in seen.items() if turn == 0 or face.scores[0] > least]
    boxes = join([doubts[i][0][turn] for i, turn in asked]).boxes
    best: list[Detections | None] = [upright for _, upright in doubts]
    surest = [0.0] * len(doubts)
    for (i, turn), again in zip(asked, look_again(frame, boxes, [(turn,) for _, turn in asked], detector), strict=True):
        if turn not in again:
            continue
        close = _mean(doubts[i][0][turn], again[turn])
        sureness = float(close.scores[0]) - TURNED_BY * (turn > 0) - LEANS_BY * leaning(close, turn)
        if sureness > surest[i]:
            surest[i], best[i] = sureness, close
            upright = doubts[i][1]
            if turn == 0 and upright is not None:  # all three looks; the first one's turn was right
                scores = (2 * upright.scores + again[0].scores) / 3
                best[i] = Detections(upright.boxes, upright.landmarks, scores)
    return best


def _mean(first: Detections, second: Detections) -> Detections:
    """Both looks at a face: the mean score, the close-up's box, the mean landmarks where the two agree."""
    apart = np.linalg.norm(first.landmarks - second.landmarks, axis=2).mean()
    steady = apart < STEADY * box_sides(second.boxes)[0]
    landmarks = (first.landmarks + second.landmarks) / 2 if steady else second.landmarks
    return Detections(second.boxes, landmarks, (first.scores + second.scores) / 2)


def _find_whole(frame: np.ndarray, detector: Detector, threshold: float) -> tuple[Detections, int]:
    """The same for a detector that looks for all sizes by itself: the whole picture, as large as it takes.

    Where it finds nothing, the picture is shown smaller with room around it, for a face that fills it, in four turns.
    """
    height, width = frame.shape[:2]
    largest = int(getattr(detector, "input_size", max(height, width)))
    dropped = 0
    roomy = min(largest, ROOMY_SIDE) / (1 + 2 * ROOM)
    for quarters, side, room in ((0, largest, 0.0), *((turn, roomy, ROOM) for turn in range(4))):
        scale = min(1.0, side / max(height, width))
        picture = resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
        scales = np.array([picture.shape[1] / width, picture.shape[0] / height])
        margin = round(room * max(picture.shape[:2]))
        if margin:
            picture = cut(picture, -margin, -margin, picture.shape[1] + margin, picture.shape[0] + margin)
        seen = detector.detect(np.rot90(picture, quarters).copy(), threshold)
        good = usable(seen)
        dropped += int((~good).sum())
        seen = take(seen, good & (seen.scores >= threshold))
        if len(seen):
            seen = turned_back(take(seen, merge(seen)), quarters, (picture.shape[1], picture.shape[0]))
            return moved(seen, np.full(2, float(margin)), scales), dropped
    return Detections.empty(), dropped

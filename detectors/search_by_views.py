"""The faces of a frame by a network with a canvas: many views of it, then close-ups of every find."""

from __future__ import annotations

import numpy as np

from .closeups import ASK, leaning, look_again
from .detector import Detections, Passes
from .merging import box_sides, join, merge, moved, take, turned_back, usable
from .views import FULL_DETAIL, resized, views

SUSPECT = 0.5  # of the threshold: where the first look has this score, the second decides
CLEAR = 0.3  # from this score and the threshold on, all finds get their second look,
MOST_SUSPECTS = 256  # of the others so many a frame, the best ones; noise and foliage have thousands
SURE = 0.75  # where no face has this score, the whole picture is looked at turned, too
UPRIGHT = 0.87  # a face with this score that does not lean needs no turned close-ups: upside down none reaches it
CLOSE = 0.1  # a turned close-up with a score less than this below the upright one gets a second one
TURNED_BY = 0.01  # what a turned look is worth less: upright where both are about equally sure
LEANS_BY = 0.15  # what a look is worth less where the face lies on its side in it
TURN_SIDE = 1056  # long side of a picture that is looked at turned, because nothing sure was found upright
STEADY = 0.1  # of the box's side: how far the two looks' landmarks may be apart, on average, to be averaged


def find_by_views(frame: np.ndarray, passes: Passes, threshold: float) -> tuple[Detections, int]:
    """The faces of a frame (H, W, 3) uint8 and how many detections were degenerate; for networks with a canvas."""
    suspects, dropped = _suspects(frame, passes, threshold)
    found = _confirmed(frame, suspects, passes, threshold)
    if found.scores.max(initial=0.0) >= SURE:
        return found, dropped
    height, width = frame.shape[:2]
    scale = min(1.0, TURN_SIDE / max(height, width))
    smaller = resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
    scales = np.array([smaller.shape[1] / width, smaller.shape[0] / height])
    turned = []
    for quarters in (1, 2, 3):
        seen, bad = _suspects(np.rot90(smaller, quarters).copy(), passes, threshold, TURN_SIDE)
        seen = turned_back(seen, quarters, (smaller.shape[1], smaller.shape[0]))
        turned.append(moved(seen, np.zeros(2), scales))
        dropped += bad
    suspects = join(turned)
    found = join([found, _confirmed(frame, take(suspects, merge(suspects)), passes, threshold)])
    return take(found, merge(found)), dropped


def _suspects(frame: np.ndarray, passes: Passes, threshold: float, detail: int = FULL_DETAIL) -> tuple[Detections, int]:
    """What may be a face in any view of the frame, one detection a face, the best first; and the degenerate ones."""
    parts, dropped = [], 0
    for view in views(frame, detail):
        seen = passes.detect(view.picture, max(SUSPECT * threshold, ASK))
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


def _confirmed(frame: np.ndarray, suspects: Detections, passes: Passes, threshold: float) -> Detections:
    """Those suspects that are found again close up, turned as they are, one detection a face."""
    clear = int((suspects.scores >= max(threshold, CLEAR)).sum())
    suspects = take(suspects, np.arange(min(len(suspects), clear + MOST_SUSPECTS)))
    looks = look_again(frame, suspects.boxes, [(0,)] * len(suspects), passes)
    upright = {i: _mean(take(suspects, [i]), seen[0]) for i, seen in enumerate(looks) if 0 in seen}
    sure = {i for i, face in upright.items() if face.scores[0] >= UPRIGHT and not leaning(face, 0)}
    doubts = [i for i in range(len(suspects)) if i not in sure]
    turned = look_again(frame, suspects.boxes[doubts], [(1, 2, 3)] * len(doubts), passes)
    for i, seen in zip(doubts, turned, strict=True):
        looks[i].update(seen)
    settled = _turned(frame, [(looks[i], upright.get(i)) for i in doubts], passes)
    found = join([upright[i] for i in sorted(sure)] + [face for face in settled if face is not None])
    found = take(found, usable(found) & (found.scores >= threshold))
    return take(found, merge(found))


def _turned(
    frame: np.ndarray, doubts: list[tuple[dict[int, Detections], Detections | None]], passes: Passes
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
    for (i, turn), again in zip(asked, look_again(frame, boxes, [(turn,) for _, turn in asked], passes), strict=True):
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

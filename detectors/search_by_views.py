"""The faces of a frame by a network with a canvas: several sizes, finer ones where they may matter, then close-ups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .closeups import ASK, LARGE_CELL, SMALL_BELOW, SMALL_CELL, leaning, look_again
from .detector import Detections, Passes
from .merging import box_sides, join, merge, moved, same_face, take, turned_back, usable
from .tilt import settle_tilts
from .views import FULL_DETAIL, WHOLE, Sheet, level_of, level_scales, packed, resized, smaller_levels, tiles

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
ENOUGH = 0.45  # of the frame's own size: from this scale on finer levels are left out where a face is plain
HINT = 0.1  # the score that a small face has at such a scale, at least: then the finer levels are looked at
HINT_SIDE = 40  # pixels in the view; a larger face is well seen where it is
PLAIN_SIDE = 90  # pixels in the view from which a look is as good as a close-up
SAME_SIZE = 1.3  # factor between the boxes of two looks at one face


@dataclass(frozen=True)
class _Looks:
    """All that was seen of a frame, on the photo, and in how many pixels: sides (M,) of the boxes in their views."""

    seen: Detections
    sides: np.ndarray
    dropped: int = 0

    @staticmethod
    def together(parts: list[_Looks]) -> _Looks:
        """Several passes as one."""
        sides = np.concatenate([part.sides for part in parts]) if parts else np.zeros(0)
        return _Looks(join([part.seen for part in parts]), sides, sum(part.dropped for part in parts))


def find_by_views(frame: np.ndarray, passes: Passes, threshold: float) -> tuple[Detections, int]:
    """The faces of a frame (H, W, 3) uint8, and how many detections were degenerate; for networks with a canvas."""
    found, dropped = _found(frame, passes, threshold)
    settled = settle_tilts(frame, found, passes, threshold)
    return take(settled, merge(settled)), dropped


def _found(frame: np.ndarray, passes: Passes, threshold: float) -> tuple[Detections, int]:
    looks = _looks(frame, passes, threshold)
    suspects = take(looks.seen, merge(looks.seen))
    plain, doubtful = _plain(suspects, looks, threshold)
    found = _confirmed(frame, doubtful, passes, threshold)
    found = join([plain, found])
    found = take(found, merge(found))
    if found.scores.max(initial=0.0) >= SURE:
        return found, looks.dropped
    height, width = frame.shape[:2]
    scale = min(1.0, TURN_SIDE / max(height, width))
    smaller = resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
    scales = np.array([smaller.shape[1] / width, smaller.shape[0] / height])
    turned, dropped = [], looks.dropped
    for quarters in (1, 2, 3):
        looks = _looks(np.rot90(smaller, quarters).copy(), passes, threshold, TURN_SIDE)
        seen = turned_back(take(looks.seen, merge(looks.seen)), quarters, (smaller.shape[1], smaller.shape[0]))
        turned.append(moved(seen, np.zeros(2), scales))
        dropped += looks.dropped
    suspects = join(turned)
    found = join([found, _confirmed(frame, take(suspects, merge(suspects)), passes, threshold)])
    return take(found, merge(found)), dropped


def _looks(frame: np.ndarray, passes: Passes, threshold: float, detail: int = FULL_DETAIL) -> _Looks:
    """What may be a face at any size, coarse to fine; the finest levels only where they may add a face.

    A frame in which a face is plain, and nothing at about half its size hints at small faces, needs no finer look.
    """
    scales = level_scales(frame.shape[0], frame.shape[1], detail)
    long = max(frame.shape[:2])
    rest = [scale for scale in scales if round(scale * long) > WHOLE]
    middle = level_of(frame, rest[-1]) if rest else None
    small = smaller_levels(frame, middle, scales[len(rest) :])
    parts = [_see(sheet, passes, threshold) for sheet in packed(small)]
    reached = max(scales[len(rest) :], default=0.0)
    for scale in reversed(rest):
        if reached >= ENOUGH and not _needs_finer(_Looks.together(parts)):
            break
        level = middle if middle is not None and scale == rest[-1] else level_of(frame, scale)
        parts += [_see(sheet, passes, threshold) for sheet in tiles(level)]
        reached = scale
    together = _Looks.together(parts)
    suspect = together.seen.scores >= max(SUSPECT * threshold, ASK)
    return _Looks(take(together.seen, suspect), together.sides[suspect], together.dropped)


def _see(sheet: Sheet, passes: Passes, threshold: float) -> _Looks:
    """One pass over a sheet: what has at least the score of a hint, on the photo."""
    seen = passes.detect(sheet.picture, min(max(SUSPECT * threshold, ASK), HINT))
    good = usable(seen)
    dropped = int((~good).sum())
    seen = take(seen, good)
    centres = (seen.boxes[:, :2] + seen.boxes[:, 2:]) / 2
    parts, sides = [], []
    for view in sheet.views:
        here = np.all((centres >= view.area[:2]) & (centres < view.area[2:]), axis=1)
        # a box over a tile's edge is a part of a face that another tile or a coarser level shows whole
        over = np.concatenate([seen.boxes[:, :2] < view.area[:2], seen.boxes[:, 2:] > view.area[2:]], axis=1)
        mine = take(seen, here & ~np.any(over & view.inner, axis=1))
        parts.append(moved(mine, view.offset, view.scale))
        sides.append(box_sides(mine.boxes))
    return _Looks(seen=join(parts), sides=np.concatenate(sides), dropped=dropped)


def _needs_finer(looks: _Looks) -> bool:
    """Whether no face is plain so far, or something small outside of the plain ones may be one."""
    large = looks.sides > HINT_SIDE
    plain = take(looks.seen, (looks.seen.scores >= SURE) & large)
    if not len(plain):
        return True
    centres = plain.landmarks.mean(1)
    for index in np.flatnonzero(~large):
        hint = take(looks.seen, [int(index)])
        if not same_face(hint.boxes[0], hint.landmarks[0].mean(0), plain.boxes, centres).any():
            return True
    return False


def _plain(suspects: Detections, looks: _Looks, threshold: float) -> tuple[Detections, Detections]:
    """The suspects that two levels show alike, upright and surely, as the mean of both; and all others."""
    plain, doubtful = [], []
    centres, sides = looks.seen.landmarks.mean(1), box_sides(looks.seen.boxes)
    for index in range(len(suspects)):
        first = take(suspects, [index])
        same = same_face(first.boxes[0], first.landmarks[0].mean(0), looks.seen.boxes, centres)
        ratio = sides / box_sides(first.boxes)[0]
        same &= (ratio < SAME_SIZE) & (ratio > 1 / SAME_SIZE) & (looks.sides >= PLAIN_SIDE)
        face = None
        for other in np.flatnonzero(same)[np.argsort(-looks.seen.scores[same], kind="stable")].tolist():
            if not np.array_equal(looks.seen.boxes[other], first.boxes[0]):
                face = _mean(first, take(looks.seen, [other]))
                break
        if face is not None and face.scores[0] >= max(UPRIGHT, threshold) and not leaning(face, 0):
            plain.append(face)
        else:
            doubtful.append(index)
    return join(plain), take(suspects, doubtful)


def _confirmed(frame: np.ndarray, suspects: Detections, passes: Passes, threshold: float) -> Detections:
    """Those suspects that are found again close up, turned as they are, one detection a face."""
    clear = int((suspects.scores >= max(threshold, CLEAR)).sum())
    suspects = take(suspects, np.arange(min(len(suspects), clear + MOST_SUSPECTS)))
    at_once = _all_turns_fit(suspects.boxes, passes)  # then they cost no more than the upright look
    first = (0, 1, 2, 3) if at_once else (0,)
    looks = look_again(frame, suspects.boxes, [first] * len(suspects), passes)
    upright = {i: _mean(take(suspects, [i]), seen[0]) for i, seen in enumerate(looks) if 0 in seen}
    sure = {i for i, face in upright.items() if face.scores[0] >= UPRIGHT and not leaning(face, 0)}
    doubts = [i for i in range(len(suspects)) if i not in sure]
    if not at_once:
        turned = look_again(frame, suspects.boxes[doubts], [(1, 2, 3)] * len(doubts), passes)
        for i, seen in zip(doubts, turned, strict=True):
            looks[i].update(seen)
    settled = _turned(frame, [(looks[i], upright.get(i)) for i in doubts], passes)
    found = join([upright[i] for i in sorted(sure)] + [face for face in settled if face is not None])
    found = take(found, usable(found) & (found.scores >= threshold))
    return take(found, merge(found))


def _all_turns_fit(boxes: np.ndarray, passes: Passes) -> bool:
    small = int((box_sides(boxes) < SMALL_BELOW).sum())
    canvas = passes.canvas or LARGE_CELL
    return 4 * small <= (canvas // SMALL_CELL) ** 2 and 4 * (len(boxes) - small) <= (canvas // LARGE_CELL) ** 2


def _turned(
    frame: np.ndarray, doubts: list[tuple[dict[int, Detections], Detections | None]], passes: Passes
) -> list[Detections | None]:
    """Which way up doubtful faces are: the surest after a second close-up in every turn that may be the right one.

    doubts: for each its close-ups by quarter turns, and the mean of the first look and the upright close-up, if any.
    """
    asked: list[tuple[int, int]] = []
    for i, (seen, upright) in enumerate(doubts):
        least = float(seen[0].scores[0]) - CLOSE if 0 in seen else 0.0
        turns = [turn for turn, face in seen.items() if turn == 0 or face.scores[0] > least]
        if turns != [0] or upright is None or leaning(upright, 0):  # else no other turn comes close
            asked += [(i, turn) for turn in turns]
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

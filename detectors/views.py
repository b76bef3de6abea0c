"""What a detector is shown of a frame: the whole at several sizes, tiles of it, and close-ups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

CANVAS = 640  # pixels: the side of the largest view, what SCRFD and YuNet were made for
GREY = 127  # what lies outside the frame: both networks take it for no edge, unlike black or a repeated border
MARGIN = 32  # pixels of grey around the frame, room for faces cut by its border
OVERLAP = 160  # pixels two tiles share: the largest face that a tile has to see whole, a coarser level sees larger ones
SMALLEST_LEVEL = 144  # long side of the coarsest level: a face larger than the frame still fits into a view
FULL_DETAIL = 2496  # long side up to which small pictures are enlarged to find small faces, twice at most
MOST_ENLARGED = 2.0
MOST_TILES = 320  # at the finest level; 8K has 144 at its own size, larger pictures are looked at smaller
_ROWS = 512  # converted at a time, so that an 8K frame needs no second copy in float


@dataclass(frozen=True)
class View:
    """A picture for one pass of a detector, and how to come back from it.

    Convention: photo = (view - offset) / scale, per axis (x, y), both continuous, the origin at the top-left corner.

    picture: (H, W, 3) uint8 RGB, contiguous, at most ``CANVAS`` on each side
    offset: (2,) float64; where the photo's origin lies in the view
    scale: (2,) float64; pixels of the view in one of the photo
    inner: (4,) bool; whether the frame goes on beyond the left, top, right, bottom edge
    """

    picture: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    inner: np.ndarray


def to_uint8(frame: torch.Tensor) -> np.ndarray:
    """A frame (H, W, 3 or 4) of floats in [0, 1], on any device, as (H, W, 3) uint8; values outside are clipped.

    The frame holds no NaN: whoever lets it in looks for that.
    """
    height, width = frame.shape[:2]
    out = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _ROWS):
        rows = frame[top : top + _ROWS, :, :3].detach().float()
        out[top : top + _ROWS] = rows.clamp(0, 1).mul_(255).round_().to("cpu", torch.uint8).numpy()
    return out


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 resized to ``size``, (width, height), linear, antialiased where it shrinks; contiguous."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    if min(picture.strides) < 0:  # turned; of one row or column it still counts as contiguous
        picture = picture.copy()
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    scaled = torch.nn.functional.interpolate(planes, size=size[::-1], mode="bilinear", antialias=True)
    return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())


def level_scales(height: int, width: int, detail: int = FULL_DETAIL) -> list[float]:
    """The scales to look at a frame at, fine to coarse, each about half of the one before.

    detail: long side up to which a small frame is enlarged, ``MOST_ENLARGED`` times at most.

    Every long side but the first is one that whole tiles cover: 1056, 2016, 3936, …, then 576, 288 and 144 in one view.
    Both networks see faces well whose box is 20 to 300 pixels wide, so each face is well seen at three levels or more.
    """
    long = max(height, width)
    finest = min(max(detail / long, 1.0), MOST_ENLARGED)
    while _tile_count(height * finest) * _tile_count(width * finest) > MOST_TILES:
        finest *= 0.9
    sides = [float(SMALLEST_LEVEL), 2.0 * SMALLEST_LEVEL, float(CANVAS - 2 * MARGIN)]
    while sides[-1] < long * finest:
        sides.append(float((CANVAS - OVERLAP) * 2 ** (len(sides) - 2) + OVERLAP - 2 * MARGIN))
    scales = [side / long for side in sides]
    # the finest level is the frame's own size or the enlargement, not what happens to fill its tiles
    coarser = [scale for scale in scales if scale < 0.8 * finest]
    return [finest, *reversed(coarser)]


def views(frame: np.ndarray, detail: int = FULL_DETAIL) -> Iterator[View]:
    """All views of a frame (H, W, 3) uint8, fine to coarse, each level made from the one before."""
    height, width = frame.shape[:2]
    level = frame
    for scale in level_scales(height, width, detail):
        level = resized(level, (max(1, round(width * scale)), max(1, round(height * scale))))
        yield from tiles(level, np.array([level.shape[1] / width, level.shape[0] / height]))


def tiles(level: np.ndarray, scale: np.ndarray) -> Iterator[View]:
    """A level with its grey margin, in overlapping tiles, or whole where it fits into one.

    level: (H, W, 3) uint8, the frame resized by ``scale`` (x, y).
    """
    for top, bottom in _spans(level.shape[0]):
        for left, right in _spans(level.shape[1]):
            picture = cut(level, left, top, right, bottom)
            inner = np.array([left > 0, top > 0, right < level.shape[1], bottom < level.shape[0]])
            yield View(picture, np.array([-left, -top], dtype=np.float64), scale, inner)


def cut(picture: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """The rectangle of a picture (H, W, 3) uint8, contiguous, with grey where it reaches beyond."""
    out = np.full((bottom - top, right - left, 3), GREY, dtype=np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, picture.shape[1]), min(bottom, picture.shape[0])
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return out


def _tile_count(length: float) -> int:
    return max(1, int(np.ceil((length + 2 * MARGIN - OVERLAP) / (CANVAS - OVERLAP))))


def _spans(length: int) -> list[tuple[int, int]]:
    """Equal spans of at most ``CANVAS`` that cover -MARGIN … length + MARGIN and share at least ``OVERLAP``."""
    count = _tile_count(length)
    size = min(length + 2 * MARGIN, CANVAS)
    starts = np.linspace(-MARGIN, length + MARGIN - size, count).round().astype(int).tolist()
    return [(start, start + size) for start in starts]

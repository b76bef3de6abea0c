"""What a detector is shown of a frame: the whole at several sizes, tiles of it, and close-ups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

CANVAS = 640  # pixels: the side of the largest view, what SCRFD and YuNet were made for
GREY = 127  # what lies outside the frame: both networks take it for no edge, unlike black or a repeated border
MARGIN = 32  # pixels of grey around the frame, room for faces cut by its border
OVERLAP = 160  # pixels two tiles share: the largest face that a tile has to see whole, a coarser level sees larger ones
WHOLE = CANVAS - 2 * MARGIN  # long side of the largest level that fits into one view
SHRUNK = 0.1  # how much smaller a level may be to save a row of tiles
SMALLEST_LEVEL = 144  # long side of the coarsest level: a face larger than the frame still fits into a view
FULL_DETAIL = 2496  # long side up to which small pictures are enlarged to find small faces, twice at most
MOST_ENLARGED = 2.0
MOST_TILES = 320  # at the finest level; 8K has 144 at its own size, larger pictures are looked at smaller
_ROWS = 512  # converted at a time, so that an 8K frame needs no second copy in float


@dataclass(frozen=True)
class Level:
    """A frame at one scale: picture (H, W, 3) uint8 RGB; scale (2,) float64, its pixels in one of the photo, (x, y)."""

    picture: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class View:
    """A part of a sheet that shows the frame, or a tile of it, at one scale, and how to come back from it.

    Convention: photo = (sheet - offset) / scale, per axis (x, y), both continuous, the origin at the top-left corner.

    area: (4,) int; x0, y0, x1, y1 on the sheet, the grey margin included
    offset: (2,) float64; where the photo's origin lies on the sheet
    scale: (2,) float64; pixels of the sheet in one of the photo
    inner: (4,) bool; whether the frame goes on beyond the left, top, right, bottom edge
    """

    area: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    inner: np.ndarray


@dataclass(frozen=True)
class Sheet:
    """What a network sees in one pass: (H, W, 3) uint8 RGB, contiguous, at most ``CANVAS`` each side; and its views."""

    picture: np.ndarray
    views: list[View]


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

    The long sides but the first are those that whole tiles cover: 1056, 2016, 3936, …, or a little less where that
    saves a row of tiles; then 576, 288 and 144. Both networks see faces well whose box is 20 to 300 pixels wide, so
    each face is well seen at three levels or more.
    """
    long = max(height, width)
    finest = min(max(detail / long, 1.0), MOST_ENLARGED)
    while _tile_count(height * finest) * _tile_count(width * finest) > MOST_TILES:
        finest *= 0.9
    sides = [float(SMALLEST_LEVEL), 2.0 * SMALLEST_LEVEL, float(WHOLE)]
    while sides[-1] < long * finest:
        sides.append(float((CANVAS - OVERLAP) * 2 ** (len(sides) - 2) + OVERLAP - 2 * MARGIN))
    # the finest level is the frame's own size or the enlargement, not what happens to fill its tiles
    coarser = [side / long for side in reversed(sides) if side / long < 0.8 * finest]
    return [finest, *(_fewer_tiles(height, width, scale) if scale * long > WHOLE else scale for scale in coarser)]


def _fewer_tiles(height: int, width: int, scale: float) -> float:
    """A scale up to ``SHRUNK`` smaller at which the shorter side needs a row of tiles less, or the same scale."""
    short = min(height, width)
    rows = _tile_count(short * scale) - 1
    smaller = ((CANVAS - OVERLAP) * rows + OVERLAP - 2 * MARGIN) / short
    return smaller if rows and smaller >= (1 - SHRUNK) * scale else scale


def level_of(frame: np.ndarray, scale: float) -> Level:
    """A frame (H, W, 3) uint8 at a scale."""
    height, width = frame.shape[:2]
    picture = resized(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
    return Level(picture, np.array([picture.shape[1] / width, picture.shape[0] / height]))


def smaller_levels(frame: np.ndarray, level: Level | None, scales: list[float]) -> list[Level]:
    """A frame (H, W, 3) uint8 at scales that go down, each made from the one before, the first from ``level``."""
    height, width = frame.shape[:2]
    picture, made = frame if level is None else level.picture, []
    for scale in scales:
        picture = resized(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
        made.append(Level(picture, np.array([picture.shape[1] / width, picture.shape[0] / height])))
    return made


def tiles(level: Level) -> list[Sheet]:
    """A level with its grey margin, in overlapping tiles, each on a sheet of its own."""
    sheets = []
    height, width = level.picture.shape[:2]
    for top, bottom in _spans(height):
        for left, right in _spans(width):
            picture = cut(level.picture, left, top, right, bottom)
            inner = np.array([left > 0, top > 0, right < width, bottom < height])
            area = np.array([0, 0, right - left, bottom - top])
            sheets.append(Sheet(picture, [View(area, np.array([-left, -top], np.float64), level.scale, inner)]))
    return sheets


def packed(small: list[Level]) -> list[Sheet]:
    """Levels that fit into one view each, the largest first, side by side on as few sheets as they need."""
    whole = np.zeros(4, dtype=bool)
    sheets: list[tuple[np.ndarray, list[View]]] = []
    row = (0, 0, 0)  # left, top, bottom of the free end of the last sheet's last row
    for level in small:
        height, width = (side + 2 * MARGIN for side in level.picture.shape[:2])
        left, top, bottom = row
        if left + width > CANVAS:
            left, top = 0, bottom
        if not sheets or top + height > CANVAS:
            sheets.append((np.full((CANVAS, CANVAS, 3), GREY, dtype=np.uint8), []))
            left, top, bottom = 0, 0, 0
        row = (left + width, top, max(bottom, top + height))
        canvas, views = sheets[-1]
        inner = np.s_[top + MARGIN : top + height - MARGIN, left + MARGIN : left + width - MARGIN]
        canvas[inner] = level.picture
        offset = np.array([left + MARGIN, top + MARGIN], dtype=np.float64)
        views.append(View(np.array([left, top, left + width, top + height]), offset, level.scale, whole))
    return [_trimmed(canvas, views) for canvas, views in sheets]


def _trimmed(canvas: np.ndarray, views: list[View]) -> Sheet:
    right, bottom = np.max([view.area[2:] for view in views], axis=0).tolist()
    return Sheet(np.ascontiguousarray(canvas[:bottom, :right]), views)


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

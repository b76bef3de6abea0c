"""What the nodes show of their work: numbered faces on the photo, and a strip of before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont

from ..faces import Faces, Skipped
from ..restoration import Report

Box = tuple[float, float, float, float]

_SIDE = 1024  # of a preview's longer side, in pixels
_FRAMES = 4  # of a batch are shown
_TILE, _COLUMNS = 256, 8  # of the strip
_CHOSEN, _LEFT, _DARK = (64, 224, 120), (170, 170, 170), (0, 0, 0)


class Marked(NamedTuple):
    """A face as the preview draws it: its number for ``select`` (None: a filter took it out before), and its box."""

    number: int | None
    box: Box
    points: list[list[float]]
    chosen: bool


def marks(faces: Faces, skipped: Sequence[Skipped], frame: int) -> list[Marked]:
    """The faces of a frame, chosen and left out, with the numbers that ``select`` counts them by."""
    left = []
    for note in skipped:
        if note.frame == frame and note.box is not None:
            left.append(Marked(note.number, note.box, [], False))
    taken = {mark.number for mark in left}
    own = faces.of_frame(frame)
    free = (number for number in range(len(own) + len(left)) if number not in taken)
    chosen = []
    for index, number in zip(range(len(own)), free, strict=False):
        x0, y0, x1, y1 = own.boxes[index].tolist()
        chosen.append(Marked(number, (x0, y0, x1, y1), own.landmarks[index].tolist(), True))
    return left + chosen


def to_picture(pixels: torch.Tensor, side: int) -> Image.Image:
    """(H,W,3 or 4) float in 0…1 -> a picture with a longer side of at most ``side`` pixels."""
    step = max(1, max(pixels.shape[:2]) // (2 * side))  # so that an 8K frame is not copied whole
    small = pixels[::step, ::step, :3].detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    picture = Image.fromarray(small.contiguous().numpy())
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return picture


def numbered_faces(images: torch.Tensor, faces: Faces, report: Report) -> list[Image.Image]:
    """The first frames of (N,H,W,C) with a box, a number and five landmarks on every face."""
    pictures = []
    for frame in range(min(len(images), _FRAMES)):
        picture = to_picture(images[frame], _SIDE)
        _draw(picture, marks(faces, report.skipped, frame), picture.width / images.shape[2])
        pictures.append(picture)
    return pictures


def _draw(picture: Image.Image, marked: Sequence[Marked], scale: float) -> None:
    draw = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) / 300))
    for mark in marked:
        colour = _CHOSEN if mark.chosen else _LEFT
        x0, y0, x1, y1 = (value * scale for value in mark.box)
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=_DARK, width=line + 2)
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=line)
        for x, y in mark.points:
            x, y, dot = x * scale, y * scale, 1.5 * line + 1.5
            draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=colour, outline=_DARK)
        if mark.number is not None:
            _label(draw, str(mark.number), (x0, y0), colour, max(14, round(max(picture.size) / 30)))


def _label(draw: ImageDraw.ImageDraw, text: str, corner: tuple[float, float], colour: tuple[int, ...], px: int) -> None:
    """A number on a plate above the box, or inside where there is no room above."""
    try:
        font = ImageFont.load_default(size=px)
    except TypeError:  # Pillow before 10.1 has one size only
        font = ImageFont.load_default()
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, tall = right - left + 6, bottom - top + 6
    x, y = max(0.0, corner[0]), corner[1] - tall if corner[1] >= tall else max(0.0, corner[1])
    draw.rectangle((x, y, x + wide, y + tall), fill=colour, outline=_DARK)
    draw.text((x + 3 - left, y + 3 - top), text, fill=_DARK, font=font)


def before_after(crops: torch.Tensor, restored: torch.Tensor) -> Image.Image:
    """The first faces in columns: (M,h,w,3) above, (M,S,S,3) below."""
    columns = min(len(crops), len(restored), _COLUMNS)
    strip = Image.new("RGB", (columns * _TILE, 2 * _TILE))
    for column in range(columns):
        for row, batch in enumerate((crops, restored)):
            tile = to_picture(batch[column], _TILE)
            if tile.size != (_TILE, _TILE):
                tile = tile.resize((_TILE, _TILE), Image.Resampling.BICUBIC)
            strip.paste(tile, (column * _TILE, row * _TILE))
    return strip

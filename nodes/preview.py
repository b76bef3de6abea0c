"""Preview of detection: the faces of a frame in boxes, with the numbers that ``select`` counts them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from PIL import Image, ImageDraw, ImageFont

from ..faces import Faces
from ..restoration import Report

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

_SIDE, _LARGEST_SIDE = 1024, 2048  # longer side of a preview in pixels: usually, and where faces are tiny
_LEGIBLE = 48  # pixels that a face should have on the preview
_FRAMES = 4  # frames of a batch that are shown
_SMALLEST_TEXT = 12  # pixels
_DOT = 2.0  # pixels: radius below which landmarks merge into a blot
GREEN, GREY, DARK = (64, 224, 120), (170, 170, 170), (0, 0, 0)


class LeftOut(Protocol):
    """The record of a face that was found and not taken.

    ``box`` is None for a remark on the whole frame, ``number`` where a filter took the face out before counting.
    """

    @property
    def frame(self) -> int: ...
    @property
    def box(self) -> Box | None: ...
    @property
    def number(self) -> int | None: ...


class Mark(NamedTuple):
    """A face as the preview draws it; box and landmarks in pixels of the photo.

    ``number`` is None where a filter took the face out before ``select`` counted.
    """

    number: int | None
    box: Box
    landmarks: list[list[float]]
    chosen: bool


def numbered_faces(images: torch.Tensor, faces: Faces, report: Report) -> list[Image.Image]:
    """Pictures of the first frames of (N,H,W,3 or 4): chosen faces in green with landmarks, the others in grey."""
    pictures = []
    for frame in range(min(len(images), _FRAMES)):
        drawn = marks(faces, report.skipped, frame)
        picture = to_picture(images[frame], _preview_side(drawn, max(images.shape[1:3])))
        _draw(picture, drawn, picture.width / images.shape[2])
        pictures.append(picture)
    return pictures


def marks(faces: Faces, skipped: Sequence[LeftOut], frame: int) -> list[Mark]:
    """The faces of a frame, those left out first, with their numbers."""
    left = [Mark(note.number, note.box, [], False) for note in skipped if note.frame == frame and note.box is not None]
    own = faces.of_frame(frame)
    chosen = []
    for index, number in zip(range(len(own)), chosen_numbers(skipped, frame), strict=False):
        x0, y0, x1, y1 = own.boxes[index].tolist()
        chosen.append(Mark(number, (x0, y0, x1, y1), own.landmarks[index].tolist(), True))
    return left + chosen


def chosen_numbers(skipped: Sequence[LeftOut], frame: int) -> Iterator[int]:
    """The numbers of a frame's chosen faces, in their order: all that no face left out has; without end."""
    taken = {note.number for note in skipped if note.frame == frame}
    number = 0
    while True:
        if number not in taken:
            yield number
        number += 1


def to_picture(pixels: torch.Tensor, side: int) -> Image.Image:
    """(H,W,3 or 4) float in 0…1 -> a picture whose longer side is at most ``side`` pixels; never enlarged."""
    step = max(1, max(pixels.shape[:2]) // (2 * side))  # so that an 8K frame is not copied whole
    small = pixels[::step, ::step, :3].detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    picture = Image.fromarray(small.contiguous().numpy())
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return picture


def text_plate(draw: ImageDraw.ImageDraw, text: str, corner: tuple[float, float], colour: Colour, px: int) -> None:
    """Draw dark text of ``px`` pixels on a coloured plate whose top-left corner is ``corner``."""
    wide, tall, offset = _plate(draw, text, px)
    x, y = corner
    draw.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour, outline=DARK)
    draw.text((x + offset[0], y + offset[1]), text, fill=DARK, font=_font(px))


def _plate(draw: ImageDraw.ImageDraw, text: str, px: int) -> tuple[float, float, tuple[float, float]]:
    """Width and height of the plate around a text, and where the text goes in it."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=_font(px))
    edge = max(2, px // 6)
    return right - left + 2 * edge, bottom - top + 2 * edge, (edge - left, edge - top)


def _font(px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size=px)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()


def _preview_side(drawn: Sequence[Mark], photo_side: int) -> int:
    """Longer side of the preview on which half of the faces are legible, within bounds."""
    widths = sorted(mark.box[2] - mark.box[0] for mark in drawn)
    if not widths:
        return _SIDE
    needed = _LEGIBLE * photo_side / max(widths[len(widths) // 2], 1.0)
    return round(min(max(needed, _SIDE), _LARGEST_SIDE))


def _draw(picture: Image.Image, drawn: Sequence[Mark], scale: float) -> None:
    """Boxes and landmarks of all faces first, then the plates, so that no box crosses a number."""
    draw = ImageDraw.Draw(picture)
    side = max(picture.size)
    boxes = []
    for mark in drawn:
        x0, y0, x1, y1 = (value * scale for value in mark.box)
        box = (x0, y0, max(x0, x1), max(y0, y1))
        boxes.append(box)
        colour, px = GREEN if mark.chosen else GREY, max(box[2] - box[0], box[3] - box[1])
        line = min(max(1, round(px / 40)), max(1, round(side / 300)))
        draw.rectangle(box, outline=DARK, width=line + 2)
        draw.rectangle(box, outline=colour, width=line)
        dot = min(px / 30, side / 150)
        for x, y in mark.landmarks if dot >= _DOT else ():
            x, y = x * scale, y * scale
            draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=colour, outline=DARK)
    occupied = list(boxes)
    for mark, box in zip(drawn, boxes, strict=True):
        if mark.number is None:
            continue
        px = _text_px(box[2] - box[0], side)
        wide, tall, _ = _plate(draw, str(mark.number), px)
        plate = _free_place(box, wide, tall, occupied, picture.size)
        occupied.append(plate)
        text_plate(draw, str(mark.number), plate[:2], GREEN if mark.chosen else GREY, px)


def _text_px(face: float, side: int) -> int:
    """Height of a number for a face of this width: half of it; more where a node shows the preview small."""
    readable = min(side / 50, 0.75 * face)
    return round(min(max(0.5 * face, readable, _SMALLEST_TEXT), side / 24))


def _free_place(box: Box, wide: float, tall: float, occupied: Sequence[Box], size: tuple[int, int]) -> Box:
    """The place beside the box where a plate covers least of other boxes and plates: above, below, right, left, in."""
    x0, y0, x1, y1 = box
    corners = [
        (x0, y0 - tall), (x1 - wide, y0 - tall), (x0, y1), (x1 - wide, y1),
        (x1, y0), (x1, y1 - tall), (x0 - wide, y0), (x0 - wide, y1 - tall), (x0, y0),
    ]  # fmt: skip
    places = torch.tensor(corners, dtype=torch.float64)
    places = places.minimum(torch.tensor([size[0] - wide, size[1] - tall], dtype=torch.float64)).clamp(min=0)
    ends = places + torch.tensor([wide, tall], dtype=torch.float64)
    others = torch.tensor(occupied, dtype=torch.float64)
    shared = (ends[:, None].minimum(others[None, :, 2:]) - places[:, None].maximum(others[None, :, :2])).clamp(min=0)
    best = int(shared.prod(-1).sum(1).argmin())  # the first of equals
    x, y = places[best].tolist()
    return x, y, x + wide, y + tall

"""Preview of restoration: faces before and after, in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw

from ..restoration import Report
from .preview import DARK, GREEN, chosen_numbers, text_plate, to_picture

_PAIRS, _COLUMNS = 8, 4  # pairs shown, and pairs per row
_TILE, _LARGE_TILE = 256, 512  # pixels; large where there are one or two pairs
_TEXT = 40  # pixels at the usual tile: legible where a node of default width shows four columns


class Pair(NamedTuple):
    """One face before and after, both (h,w,3 or 4) float in 0…1 of any size, and what its plate says."""

    before: torch.Tensor
    after: torch.Tensor
    label: str


def crop_pairs(crops: torch.Tensor, restored: torch.Tensor) -> list[Pair]:
    """The first crops (M,h,w,3 or 4) with their restored faces (M,S,S,3), numbered in their order."""
    return [Pair(crops[index], restored[index], str(index)) for index in range(min(len(crops), _PAIRS))]


def photo_pairs(image: torch.Tensor, result: torch.Tensor, report: Report) -> list[Pair]:
    """The first restored faces, cut from the photo and from the result.

    The label is the number that ``select`` counts a face by; in a batch "frame:number".

    Args:
        image: (N,H,W,3 or 4) as it came in.
        result: (N,H',W',3 or 4) with the faces pasted, of any scale.
        report: names the faces of ``image``.
    """
    numbers = {}
    pairs = []
    for note in report.faces[:_PAIRS]:
        if note.frame not in numbers:
            numbers[note.frame] = chosen_numbers(report.skipped, note.frame)
        number = next(numbers[note.frame])
        if note.box is None or note.size is None:
            continue
        x0, y0, x1, y1 = note.box
        square = ((x0 + x1) / 2, (y0 + y1) / 2, note.size / 2)
        scale = result.shape[2] / image.shape[2]
        before = _cut(image[note.frame], *square)
        after = _cut(result[note.frame], *(value * scale for value in square))
        pairs.append(Pair(before, after, str(number) if len(image) == 1 else f"{note.frame}:{number}"))
    return pairs


def _cut(pixels: torch.Tensor, x: float, y: float, half: float) -> torch.Tensor:
    """The part of (H,W,C) within ``half`` of (x, y), at least one pixel; what lies outside the picture is missing."""
    height, width = pixels.shape[:2]
    left, top = min(max(0, round(x - half)), width - 1), min(max(0, round(y - half)), height - 1)
    right, bottom = max(left + 1, round(x + half)), max(top + 1, round(y + half))
    return pixels[top:bottom, left:right]


def before_after(pairs: Sequence[Pair], total: int) -> list[Image.Image]:
    """One picture of all pairs, before above after, at most four in a row; none without pairs.

    Args:
        pairs: at most eight are shown.
        total: how many faces there are; where more than are shown, a line below says "8 of 29 faces".
    """
    if not pairs:
        return []
    shown = pairs[:_PAIRS]
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    tile = _LARGE_TILE if columns <= 2 else _TILE
    px = _TEXT * tile // _TILE * 3 // 4 if tile == _LARGE_TILE else _TEXT
    line = 2 * px if total > len(shown) else 0
    sheet = Image.new("RGB", (columns * tile, rows * 2 * tile + line), DARK)
    draw = ImageDraw.Draw(sheet)
    for index, pair in enumerate(shown):
        x, y = index % columns * tile, index // columns * 2 * tile
        sheet.paste(_fit(pair.before, tile), (x, y))
        sheet.paste(_fit(pair.after, tile), (x, y + tile))
        text_plate(draw, pair.label, (x, y), GREEN, px)
        draw.rectangle((x, y, x + tile - 1, y + 2 * tile - 1), outline=DARK, width=2)
    if line:
        text_plate(draw, f"{len(shown)} of {total} faces", (px // 2, sheet.height - line + px // 4), GREEN, px)
    return [sheet]


def _fit(pixels: torch.Tensor, tile: int) -> Image.Image:
    """The pixels in a square of ``tile`` pixels, centred, their aspect kept."""
    picture = to_picture(pixels, tile)
    scale = tile / max(picture.size)
    if scale != 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGB", (tile, tile), DARK)
    square.paste(picture, ((tile - picture.width) // 2, (tile - picture.height) // 2))
    return square

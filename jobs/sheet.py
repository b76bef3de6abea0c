"""The before/after sheet: both pictures side by side, the faces in pairs below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .image_io.picture import to_float, to_integers

if TYPE_CHECKING:
    from PIL import Image, ImageFont

PAPER, INK, MUTED = (24, 24, 27), (244, 244, 245), (161, 161, 170)
PANEL = 960  # longest side of a picture on the sheet; smaller ones are enlarged to half of it at least
FACE, SINGLE_FACE = 300, 480  # side of a face on the sheet; at most, where there is only one
COLUMNS = {1: 1, 2: 2, 4: 2}  # pairs in a row by their number; else three
SIZE_NEEDS = 220  # width of a picture that has room for its size beside its title
MARGIN, GAP, CAPTION = 32, 8, 40
MOST_FACES = 12


@dataclass(frozen=True)
class FacePair:
    """A face before and after: (S,S,3) float in [0,1] each, any sizes, and what to write below."""

    before: np.ndarray
    after: np.ndarray
    label: str


def comparison_sheet(
    before: np.ndarray, after: np.ndarray, faces: Sequence[FacePair] = (), *, total_faces: int | None = None
) -> np.ndarray:
    """Lay out a sheet.

    Args:
        before, after: (H,W,3|4) float in [0,1]; they may differ in size.
        faces: pairs to show, the most important first; beyond twelve they are left out.
        total_faces: how many there were, if more than ``faces`` holds.

    Returns:
        (H',W',3) float32 in [0,1].
    """
    from PIL import Image, ImageDraw

    height, width = after.shape[:2]
    scale = max(min(PANEL / max(height, width), 1.0), PANEL / 2 / max(height, width))
    panel = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = list(faces[:MOST_FACES])
    side = min(max(panel[0], FACE), SINGLE_FACE) if len(shown) == 1 else FACE
    pair_width = 2 * side + GAP
    columns = COLUMNS.get(len(shown), 3)
    rows = -(-len(shown) // columns)
    content = max(2 * panel[0] + GAP, columns * pair_width + (columns - 1) * MARGIN if shown else 0)
    missing = (len(faces) if total_faces is None else total_faces) - len(shown)
    sheet_height = MARGIN + CAPTION + panel[1] + MARGIN + rows * (side + CAPTION + GAP) + (CAPTION if missing else 0)
    sheet = Image.new("RGB", (content + 2 * MARGIN, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    title, small = _font(26), _font(18)

    left = MARGIN + (content - 2 * panel[0] - GAP) // 2
    for i, (name, pixels) in enumerate((("Before", before), ("After", after))):
        x = left + i * (panel[0] + GAP)
        draw.text((x, MARGIN), name, INK, font=title)
        if panel[0] >= SIZE_NEEDS:
            size = f"{pixels.shape[1]} x {pixels.shape[0]}"  # the font has no multiplication sign
            draw.text((x + panel[0], MARGIN + 6), size, MUTED, font=small, anchor="ra")
        sheet.paste(_image(pixels, panel), (x, MARGIN + CAPTION))

    top = MARGIN + CAPTION + panel[1] + MARGIN
    row_left = MARGIN + (content - columns * pair_width - (columns - 1) * MARGIN) // 2
    for i, pair in enumerate(shown):
        x = row_left + i % columns * (pair_width + MARGIN)
        y = top + i // columns * (side + CAPTION + GAP)
        sheet.paste(_image(pair.before, (side, side)), (x, y))
        sheet.paste(_image(pair.after, (side, side)), (x + side + GAP, y))
        draw.text((x, y + side + 6), pair.label, MUTED, font=small)
    if missing:
        draw.text((row_left, sheet_height - CAPTION), f"and {missing} more", MUTED, font=small)
    return to_float(np.asarray(sheet))


def _image(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """(H,W,3|4) float -> Pillow at (width, height); transparency shows the paper."""
    from PIL import Image

    if pixels.shape[2] == 4:
        paper = np.array(PAPER, np.float32) / 255
        pixels = pixels[..., :3] * pixels[..., 3:] + paper * (1 - pixels[..., 3:])
    image = Image.fromarray(to_integers(pixels, 8))
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The one that comes with Pillow (10.1 and later have it in any size)."""
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1
        return ImageFont.load_default()

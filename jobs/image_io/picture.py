"""A picture in memory: upright float pixels, and what its file said about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

# what is read and written, by extension; a folder is searched for these
FORMAT_OF_SUFFIX = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
READABLE = "JPEG, PNG, WebP and TIFF"
MAX_PIXELS = 178_000_000  # 13,300 × 13,300: 2 GB as float; above it, a mistake or a bomb more often than a photo


class ImageFileError(ValueError):
    """A picture file that cannot be read or written; the message is a sentence that names it."""


@dataclass(frozen=True)
class Metadata:
    """What is carried from the file that was read to the file that is written.

    Attributes:
        format: JPEG, PNG, WEBP or TIFF.
        bits: 8 or 16 per channel.
        gray: the file holds grey values; the pixels are three equal channels, and grey is written again.
        icc: the profile of the pixels as they are here, or None.
        exif: EXIF block without prefix, as it was in the file; xmp: XMP packet.
        dpi: pixels per inch (x, y).
        lossless: a WebP without loss.
        png_chunks: (type, content) of a PNG's other chunks.
        notes: sentences for the user, on what was converted or left out.
    """

    format: str
    bits: int = 8
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> Metadata:
        return replace(self, notes=(*self.notes, note))

    @property
    def icc_for_rgb(self) -> bytes | None:
        """The profile for pictures made from this one in RGB (crops, sheets): a grey one does not fit them."""
        return None if self.gray or (self.icc and self.icc[16:20] != b"RGB ") else self.icc


@dataclass(frozen=True)
class Picture:
    """pixels: (H,W,3|4) float32 in [0,1], RGB or RGBA with straight alpha, upright."""

    pixels: np.ndarray
    meta: Metadata
    path: Path = field(default_factory=Path)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.pixels.shape[0], self.pixels.shape[1]


def to_float(samples: np.ndarray) -> np.ndarray:
    """uint8 or uint16 of any shape -> float32 in [0,1]; ``to_integers`` gives the very same integers back."""
    return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)


def to_integers(pixels: np.ndarray, bits: int) -> np.ndarray:
    """float32 in [0,1] (clipped) -> uint8 or uint16, rounded to nearest."""
    top = 2**bits - 1
    return np.rint(np.clip(pixels, 0, 1) * np.float32(top)).astype(np.uint16 if bits == 16 else np.uint8)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (H,W,…) the way an EXIF orientation 1…8 says a viewer shows them.

    Convention: 6 is "turn clockwise by 90°", 8 counter-clockwise; 2, 4, 5, 7 mirror. Source: EXIF 2.32, tag 0x0112.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels

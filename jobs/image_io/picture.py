"""A picture in memory: upright float pixels, and what its file said about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

MAX_PIXELS = 178_000_000  # 13,300 × 13,300: 2 GB as float; above it, a mistake or a bomb more often than a photo

ROWS_AT_ONCE = 256


class ImageFileError(ValueError):
    """A picture file that cannot be read or written; the message is a sentence that names it."""


def refuse_huge(width: int, height: int) -> None:
    """Refuse a picture of more than ``MAX_PIXELS`` before it is decoded.

    Raises:
        ImageFileError: it is larger.
    """
    if width * height > MAX_PIXELS:
        raise ImageFileError(too_large(f"{width} × {height} pixels"))


def too_large(size: str = "the picture") -> str:
    """The sentence about a picture of more than ``MAX_PIXELS``."""
    return f"{size} is more than the {MAX_PIXELS // 1_000_000} million pixels that are read at once; shrink it first."


@dataclass(frozen=True)
class Metadata:
    """What is carried from the file that was read to the file that is written.

    Attributes:
        format: JPEG, PNG, WEBP, TIFF, BMP, HEIC or AVIF.
        bits: 8 or 16 per channel.
        gray: the file holds grey values; the pixels are three equal channels, and grey is written again.
        icc: the profile of the pixels as they are here, or None.
        exif: EXIF block without prefix, as it was in the file.
        xmp: XMP packet.
        iptc: IPTC records (caption, keywords, by-line, …).
        comments: comments of a JPEG, as its bytes.
        dpi: pixels per inch (x, y).
        lossless: the file was a lossless WebP.
        complete: the file lacks nothing, not even its end.
        png_chunks: (type, content) of a PNG's other chunks.
        notes: sentences for the user: what was converted, left out or missing.
    """

    format: str
    bits: int = 8
    gray: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comments: tuple[bytes, ...] = ()
    dpi: tuple[float, float] | None = None
    lossless: bool = False
    complete: bool = True
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> Metadata:
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))

    @property
    def icc_for_rgb(self) -> bytes | None:
        """The profile for RGB pictures made from this one (crops, sheets): None where it is a grey one."""
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
    pixels = samples.astype(np.float32)
    pixels /= np.float32(np.iinfo(samples.dtype).max)
    return pixels


def to_integers(pixels: np.ndarray, bits: int) -> np.ndarray:
    """(H,…) float32 in [0,1] (clipped) -> uint8 or uint16, rounded to nearest; in strips, to need no second picture."""
    top = np.float32(2**bits - 1)
    out = np.empty(pixels.shape, np.uint16 if bits == 16 else np.uint8)
    for start in range(0, len(pixels), ROWS_AT_ONCE):
        strip = np.clip(pixels[start : start + ROWS_AT_ONCE], 0, 1)
        strip *= top
        out[start : start + ROWS_AT_ONCE] = np.rint(strip, out=strip)
    return out


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

"""HEIC through the optional package pillow-heif, AVIF through Pillow where it has the codec."""

from __future__ import annotations

import importlib.util
import io
from typing import TYPE_CHECKING

from .picture import ImageFileError, refuse_huge

if TYPE_CHECKING:
    from PIL import Image

INSTALL = "pip install pillow-heif"


def readable_heif() -> frozenset[str]:
    """Which of HEIC and AVIF this installation reads."""
    here = {"HEIC": importlib.util.find_spec("pillow_heif") is not None, "AVIF": _pillow_reads_avif()}
    return frozenset(kind for kind, readable in here.items() if readable)


def open_heif(data: bytes, kind: str) -> tuple[Image.Image, int]:
    """The first picture of the file, upright or with its orientation in the EXIF block, and its bits per channel.

    Raises:
        ImageFileError: the package for it is missing, or it has too many pixels.
    """
    from PIL import Image

    if kind == "AVIF":
        if not _pillow_reads_avif():
            raise ImageFileError("AVIF needs Pillow 11.3 or newer: pip install -U Pillow.")
        image = Image.open(io.BytesIO(data), formats=("AVIF",))
        refuse_huge(image.width, image.height)
        return image, _bits_of(data)
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports] # optional
    except ImportError as error:
        raise ImageFileError(f"{kind} needs the package pillow-heif: {INSTALL}.") from error
    container = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    refuse_huge(*container.size)
    return container.to_pillow(), _bits_of(data)


def _pillow_reads_avif() -> bool:
    from PIL import features

    try:
        return bool(features.check("avif"))
    except ValueError:  # a Pillow that has not heard of it
        return False


def _bits_of(data: bytes) -> int:
    """Bits per channel by the container's ``pixi`` box (ISO/IEC 23008-12); 8 where there is none."""
    position = data.find(b"pixi")
    if position < 0 or position + 10 > len(data) or not data[position + 8]:
        return 8
    return max(data[position + 9 : position + 9 + data[position + 8]], default=8)

"""EXIF and XMP blocks patched in place, so that unknown tags stay byte for byte as they were.

An EXIF block is a small TIFF file: byte order, offset of a directory (IFD), entries of twelve bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

ORIENTATION = 0x0112
EXIF_DIRECTORY = 0x8769
PIXEL_WIDTH, PIXEL_HEIGHT = 0xA002, 0xA003
SHORT, LONG = 3, 4

# tags of a TIFF page that describe the picture (all ASCII), worth carrying into another format
DESCRIPTIVE_TAGS = (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298)  # description, make, model, time, artist, copyright

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]")


def strip_prefix(block: bytes) -> bytes:
    """The block without the ``Exif\\0\\0`` that JPEG and WebP put in front of it."""
    return block[6:] if block.startswith(b"Exif\0\0") else block


def _entries(block: bytes, order: str, directory: int) -> Iterator[tuple[int, int, int, int]]:
    """(tag, type, count, position of the entry) of one directory; ends early where the block does."""
    (count,) = struct.unpack_from(order + "H", block, directory)
    for i in range(count):
        position = directory + 2 + 12 * i
        tag, kind, number = struct.unpack_from(order + "HHI", block, position)
        yield tag, kind, number, position


def _byte_order(block: bytes) -> str:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        raise struct.error("no TIFF header")
    return order


def _put(block: bytearray, order: str, kind: int, position: int, value: int) -> None:
    if kind == SHORT and value < 65536:
        struct.pack_into(order + "H", block, position + 8, value)
    elif kind == LONG:
        struct.pack_into(order + "I", block, position + 8, value)


def read_orientation(block: bytes) -> int:
    """The orientation 1…8 that an EXIF block names; 1 where it names none or cannot be read."""
    try:
        order = _byte_order(block)
        (first,) = struct.unpack_from(order + "I", block, 4)
        for tag, kind, count, position in _entries(block, order, first):
            if tag == ORIENTATION and kind == SHORT and count == 1:
                (value,) = struct.unpack_from(order + "H", block, position + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # as described: a broken block names none
    return 1


def describe_upright(block: bytes | None, width: int, height: int) -> bytes | None:
    """The EXIF block for pixels that are stored upright: orientation 1, the new size, no thumbnail of the old picture.

    Args:
        block: the TIFF structure without prefix, or None.
        width, height: pixels of the picture that is written.

    Returns:
        A block of the same length, or None where there was none or it cannot be read (a broken block is not passed on).
    """
    if not block:
        return None
    patched = bytearray(block)
    try:
        order = _byte_order(block)
        (first,) = struct.unpack_from(order + "I", block, 4)
        nested = None
        for tag, kind, count, position in _entries(block, order, first):
            if tag == ORIENTATION and count == 1:
                _put(patched, order, kind, position, 1)
            elif tag == EXIF_DIRECTORY and kind == LONG:
                (nested,) = struct.unpack_from(order + "I", block, position + 8)
        (entries,) = struct.unpack_from(order + "H", block, first)
        struct.pack_into(order + "I", patched, first + 2 + 12 * entries, 0)  # the next directory is the thumbnail's
        if nested is not None:
            for tag, kind, count, position in _entries(block, order, nested):
                if tag in (PIXEL_WIDTH, PIXEL_HEIGHT) and count == 1:
                    _put(patched, order, kind, position, width if tag == PIXEL_WIDTH else height)
    except struct.error:
        return None
    return bytes(patched)


def upright_xmp(packet: bytes | None) -> bytes | None:
    """The XMP packet with its orientation, where it names one, set to 1 (upright)."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet) if packet else None

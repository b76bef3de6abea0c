"""The segments of a JPEG that Pillow drops (IPTC, comments), and files that lack only their end.

Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from .iptc import as_resource, find_iptc

START, END = b"\xff\xd8", b"\xff\xd9"
APP13, COMMENT = 0xED, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_SCAN, _END_MARKER = 0xDA, 0xD9
_PHOTOSHOP = b"Photoshop 3.0\0"
LONGEST = 65_533  # bytes of a segment's content
_LEAST_BITS, _SLACK = 2, 2  # bits that a block takes at least; bytes by which the estimate may be off
_SPILL = 2  # pixels by which smooth upsampling of colour carries a change into the blocks before
_PROGRESSIVE_ROWS = 0.9  # of the height


def read_segments(file: BinaryIO) -> list[tuple[int, bytes]]:
    """(marker, content) of every segment before the pixels; ends early where the file is damaged."""
    file.seek(2)
    segments: list[tuple[int, bytes]] = []
    while True:
        marker = file.read(2)
        while marker[:1] == b"\xff" and marker[1:] == b"\xff":  # padding
            marker = b"\xff" + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (_SCAN, _END_MARKER):
            return segments
        length = int.from_bytes(file.read(2), "big")
        content = file.read(max(0, length - 2))
        if length < 2 or len(content) < length - 2:
            return segments
        segments.append((marker[1], content))


def iptc_of(segments: Iterable[tuple[int, bytes]]) -> bytes | None:
    """The IPTC records of Photoshop's segments; long ones continue in the next segment."""
    parts = [content[len(_PHOTOSHOP) :] for marker, content in segments
             if marker == APP13 and content.startswith(_PHOTOSHOP)]  # fmt: skip
    return find_iptc(b"".join(parts))


def comments_of(segments: Iterable[tuple[int, bytes]]) -> tuple[bytes, ...]:
    """The comments, byte for byte."""
    return tuple(content for marker, content in segments if marker == COMMENT)


def with_segments(data: bytes, iptc: bytes | None, comments: Iterable[bytes]) -> bytes:
    """A JPEG with IPTC records and comments put behind its application segments."""
    extra: list[tuple[int, bytes]] = []
    if iptc:
        resource, room = as_resource(iptc), LONGEST - len(_PHOTOSHOP)
        extra += [(APP13, _PHOTOSHOP + resource[i : i + room]) for i in range(0, len(resource), room)]
    extra += [(COMMENT, comment[:LONGEST]) for comment in comments]
    if not extra:
        return data
    position = 2
    while data[position] == 0xFF and data[position + 1] in _APPLICATION:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    block = b"".join(
        bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content for marker, content in extra
    )
    return data[:position] + block + data[position:]


def with_end(data: bytes) -> bytes | None:
    """The file with the end marker that it lacks; None where pixels are missing, too.

    A decoder fills missing blocks with grey and says nothing. So the file is decoded again some bytes shorter, until
    something changes: where the data are complete, the blocks behind that place fit into the bytes that were cut.
    """
    whole = data + END
    try:
        image = _opened(whole)
        complete, cut = np.asarray(image), 1
        while cut < len(data) // 2:
            shorter = np.asarray(_opened(data[:-cut].rstrip(b"\xff") + END))
            changed = (complete != shorter).reshape(*complete.shape[:2], -1).any(2)
            if changed.any():
                return whole if _fits(image, changed, cut) else None
            cut += max(1, cut // 2)
    except (OSError, SyntaxError, ValueError):
        pass  # not even its header is whole: None, as described
    return None


def _opened(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data), formats=("JPEG",))


def _fits(image: Any, changed: np.ndarray, cut: int) -> bool:
    """Whether ``cut`` bytes can hold all blocks from the first changed pixel (H,W bool) to the end."""
    height, width = changed.shape
    row = min(int(np.nonzero(changed.any(1))[0][0]) + _SPILL, height - 1)
    if image.info.get("progressive"):  # its last scan codes long runs of blocks in few bits
        return row >= height * _PROGRESSIVE_ROWS
    across, down = (8 * max(layer[i] for layer in image.layer) for i in (1, 2))
    if len(image.layer) == 1:
        across = down = 8
    blocks = sum(layer[1] * layer[2] for layer in image.layer) if len(image.layer) > 1 else 1
    columns, rows = -(-width // across), -(-height // down)
    top = row // down
    places = np.nonzero(changed[top * down : (top + 1) * down].any(0))[0]
    first = min(int(places[0]) + _SPILL, width - 1) // across if len(places) else columns - 1
    units = columns * (rows - top) - first
    return units * blocks * _LEAST_BITS <= 8 * (cut + _SLACK)

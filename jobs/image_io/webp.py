"""The container of a WebP file. Source: RFC 9649, section 2."""

from __future__ import annotations

from collections.abc import Iterator

LOSSLESS, LOSSY, FRAME, EXTENDED = b"VP8L", b"VP8 ", b"ANMF", b"VP8X"
_FRAME_HEADER = 16  # bytes of an ANMF chunk in front of its own chunks


def is_lossless(data: bytes) -> bool:
    """Whether the first picture is stored without loss, wherever in the container it stands."""
    for kind, start, end in _chunks(data, 12, len(data)):
        if kind == FRAME:
            nested = [kind for kind, _, _ in _chunks(data, start + _FRAME_HEADER, end)]
            return LOSSLESS in nested
        if kind in (LOSSLESS, LOSSY):
            return kind == LOSSLESS
    return False


def container_bytes(head: bytes) -> int:
    """How long the file is by its header; what stands behind is no part of it."""
    return int.from_bytes(head[4:8], "little") + 8


def _chunks(data: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start and end of its content) of every chunk."""
    while position + 8 <= end:
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], position + 8, min(position + 8 + length, end)
        position += 8 + length + length % 2

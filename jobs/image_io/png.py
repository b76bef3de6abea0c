"""PNG with 8 and 16 bits: the chunks that libraries drop or refuse, and a writer that puts them around their pixels.

Pillow reads 16-bit colour as 8 bits and refuses large text, OpenCV writes no metadata: so the chunks are read here, and
both see the pixels alone. Source: PNG (Portable Network Graphics) Specification, 3rd edition.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# colour chunks must stand before the pixels; they describe values that we do not change
COLOUR_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
OTHER_KEPT_CHUNKS = (b"pHYs", b"tEXt", b"zTXt", b"iTXt")
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
ANCILLARY = 0x20  # bit of a type's first letter: a reader may do without the chunk
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the stored values, by colour type; 3 is a palette
MOST_ANCILLARY = 64_000_000  # bytes that are kept of all chunks beside the pixels
MOST_PROFILE = 64_000_000  # bytes that an ICC profile may unpack to
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
LEVEL = 6  # zlib's: as small as our own writer's files were, in the same time

Chunk = tuple[bytes, bytes]
"""(type, content)"""


class DamagedPNG(ValueError):
    """The chunk structure is cut off or a checksum does not match."""


def read_chunks(data: bytes) -> list[Chunk]:
    """Every chunk of a whole file, checked against its CRC.

    Raises:
        DamagedPNG: not a PNG, cut off, or a wrong checksum.
    """
    chunks, complete = scan(io.BytesIO(data))
    if not complete:
        raise DamagedPNG("the file is cut off")
    return chunks


def scan(stream: BinaryIO) -> tuple[list[Chunk], bool]:
    """Every chunk, checked against its CRC, and whether the end was there.

    An ancillary chunk that is damaged or too large is left out. What stands behind the end marker is not read.

    Raises:
        DamagedPNG: not a PNG, pixels missing, or a wrong checksum.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        raise DamagedPNG("it does not begin as a PNG does")
    chunks: list[Chunk] = []
    room, complete = MOST_ANCILLARY, False
    while not complete:
        head = stream.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        if not chunks and (kind, length) != (b"IHDR", 13):
            raise DamagedPNG("the header is missing")
        ancillary = bool(kind[0] & ANCILLARY)
        if ancillary and length > room:
            if stream.tell() + length > size:
                break
            stream.seek(length + 4, os.SEEK_CUR)
            continue
        limit = length if ancillary or not chunks else _most_bytes(chunks[0][1])
        if length > limit:
            raise DamagedPNG("a chunk is larger than the whole picture")
        content, checksum = stream.read(length), stream.read(4)
        if len(checksum) < 4:
            if kind == b"IDAT":
                chunks.append((kind, content))
            break
        if zlib.crc32(content, zlib.crc32(kind)) == int.from_bytes(checksum, "big"):
            chunks.append((kind, content))
            room -= length if ancillary else 0
        elif not ancillary:
            raise DamagedPNG("a checksum does not match its data")
        complete = kind == b"IEND"
    if not chunks:
        raise DamagedPNG("the header is missing")
    if not complete:
        chunks = _with_whole_pixels(chunks)
    return chunks, complete


def pixels_only(chunks: Iterable[Chunk]) -> bytes:
    """A PNG file of the chunks that the pixels need."""
    kept = [_chunk(kind, content) for kind, content in chunks if kind in PIXEL_CHUNKS]
    return b"".join([SIGNATURE, *kept, _chunk(b"IEND", b"")])


def size_of(header: bytes) -> tuple[int, int]:
    """(width, height) of the content of IHDR."""
    width, height = struct.unpack(">II", header[:8])
    return width, height


def profile_of(content: bytes) -> bytes | None:
    """The ICC profile in an iCCP chunk; None where it cannot be unpacked."""
    _, _, rest = content.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], MOST_PROFILE) or None
    except zlib.error:
        return None


def encode(
    pixels: np.ndarray, *, icc: bytes | None = None, exif: bytes | None = None, kept: Iterable[Chunk] = ()
) -> bytes:
    """A PNG file.

    Args:
        pixels: (H,W) or (H,W,C) uint8 or uint16, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.
        icc, exif: an ICC profile; an EXIF block without prefix.
        kept: further chunks, of which those that are known to stay true are written.
    """
    kept = list(kept)
    header, *packed = _compressed(pixels[..., None] if pixels.ndim == 2 else pixels)
    before = [header, *(c for c in kept if c[0] in COLOUR_CHUNKS and not (icc and c[0] == b"sRGB"))]
    if icc:
        before.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif:
        before.append((b"eXIf", exif))
    before += [c for c in kept if c[0] in OTHER_KEPT_CHUNKS]
    return b"".join([SIGNATURE, *(_chunk(*c) for c in (*before, *packed, (b"IEND", b"")))])


def _compressed(pixels: np.ndarray) -> list[Chunk]:
    """IHDR and IDAT of the pixels: 8 bits by Pillow, 16-bit RGB(A) by OpenCV.

    Grey with 16 bits, which OpenCV has without alpha alone, goes through Pillow as 8-bit pixels of as many bytes: PNG
    filters bytes, so only the header differs.
    """
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    if bits == 16 and channels >= 3:
        import cv2

        order = [2, 1, 0, 3][:channels]
        options = [cv2.IMWRITE_PNG_COMPRESSION, LEVEL, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED]
        done, buffer = cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]), options)
        if not done:
            raise ValueError("OpenCV could not write a PNG")
        data = buffer.tobytes()
    else:
        from PIL import Image

        if bits == 16:
            pixels = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8).reshape(height, width, 2 * channels)
        out = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG", compress_level=LEVEL)
        data = out.getvalue()
    header = struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPE[channels], 0, 0, 0)
    return [(b"IHDR", header), *(chunk for chunk in read_chunks(data) if chunk[0] == b"IDAT")]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _row_bytes(header: bytes) -> list[tuple[int, int]]:
    """(rows, bytes of a row with its filter) of every pass."""
    width, height = size_of(header)
    depth, colour, interlaced = header[8], header[9], header[12]
    bits = depth * CHANNELS.get(colour, 4)
    grids = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(height - y) // dy), -(-(width - x) // dx)) for x, y, dx, dy in grids)
    return [(rows, 1 + (columns * bits + 7) // 8) for rows, columns in sizes if rows > 0 and columns > 0]


def _most_bytes(header: bytes) -> int:
    """More than the compressed pixels can take: deflate adds five bytes per block at most."""
    raw = sum(rows * row for rows, row in _row_bytes(header))
    return raw + raw // 100 + 1_000_000


def _with_whole_pixels(chunks: list[Chunk]) -> list[Chunk]:
    """The chunks of a file that lacks its end, its pixels packed anew.

    Raises:
        DamagedPNG: pixels are missing.
    """
    expected = sum(rows * row for rows, row in _row_bytes(chunks[0][1]))
    unpacker, raw = zlib.decompressobj(), b""
    try:
        raw = unpacker.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"), expected)
    except zlib.error as error:
        raise DamagedPNG("the file is cut off") from error
    if not expected or len(raw) < expected:
        raise DamagedPNG("the file is cut off")
    return [*(chunk for chunk in chunks if chunk[0] != b"IDAT"), (b"IDAT", zlib.compress(raw, 1))]

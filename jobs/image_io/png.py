"""PNG with 8 and 16 bits: the chunks that other readers drop, a check for damage, and a writer for every depth.

Pillow reads 16-bit colour as 8-bit and writes none, OpenCV writes no metadata before 4.12: so 16-bit pixels are decoded
by OpenCV and files are written here. Source of the format: PNG (Portable Network Graphics) Specification, 3rd edition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# colour chunks must stand before the pixels; they describe values that we do not change
COLOUR_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
OTHER_KEPT_CHUNKS = (b"pHYs", b"tEXt", b"zTXt", b"iTXt")
ANCILLARY = 0x20  # bit of a type's first letter: a reader may do without the chunk
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey + alpha, RGB, RGBA
ROWS_AT_ONCE = 256  # bounds the memory of filtering


class DamagedPNG(ValueError):
    """The chunk structure is cut off or a checksum does not match."""


def read_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk as (type, content), checked against its CRC; a damaged one that is not needed is left out.

    Raises:
        DamagedPNG: not a PNG, cut off before the end marker, or a wrong checksum.
    """
    if not data.startswith(SIGNATURE):
        raise DamagedPNG("it does not begin as a PNG does")
    chunks: list[tuple[bytes, bytes]] = []
    position = len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if position + 12 > len(data):
            raise DamagedPNG("the file is cut off")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            raise DamagedPNG("the file is cut off")
        kind = data[position + 4 : position + 8]
        if zlib.crc32(data[position + 4 : end]) == struct.unpack_from(">I", data, end)[0]:
            chunks.append((kind, data[position + 8 : end]))
        elif not kind[0] & ANCILLARY:
            raise DamagedPNG("a checksum does not match its data")
        position = end + 4
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise DamagedPNG("the header is missing")
    return chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    a, b, c = (x.astype(np.int16) for x in (left, above, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, above, corner))


def _filtered(rows: np.ndarray, previous: np.ndarray, step: int) -> bytes:
    """The rows (R, bytes) with the filter in front of each that leaves the smallest sum of absolute differences."""
    above = np.concatenate([previous[None], rows[:-1]])
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], above[:, :-step]
    best, cost = rows, np.full(len(rows), np.iinfo(np.int64).max)
    kinds = np.zeros(len(rows), np.uint8)
    for kind, predicted in ((0, None), (1, left), (2, above), (4, _paeth(left, above, corner))):
        candidate = rows if predicted is None else rows - predicted
        candidate_cost = np.abs(candidate.view(np.int8).astype(np.int16)).sum(1, dtype=np.int64)
        better = candidate_cost < cost
        best, cost = np.where(better[:, None], candidate, best), np.where(better, candidate_cost, cost)
        kinds[better] = kind
    return np.concatenate([kinds[:, None], best], axis=1).tobytes()


def encode(
    pixels: np.ndarray,
    *,
    icc: bytes | None = None,
    exif: bytes | None = None,
    kept: Iterable[tuple[bytes, bytes]] = (),
    level: int = 6,
) -> bytes:
    """A PNG file.

    Args:
        pixels: (H,W) or (H,W,C) uint8 or uint16, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.
        icc, exif: an ICC profile; an EXIF block without prefix.
        kept: further chunks (type, content), of which those that are known to stay true are written.
        level: zlib's, 0 to 9.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    kept = list(kept)
    out = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, COLOUR_TYPE[channels], 0, 0, 0))]
    out += [_chunk(kind, content) for kind, content in kept if kind in COLOUR_CHUNKS and not (icc and kind == b"sRGB")]
    if icc:
        out.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif:
        out.append(_chunk(b"eXIf", exif))
    out += [_chunk(kind, content) for kind, content in kept if kind in OTHER_KEPT_CHUNKS]

    step = channels * pixels.dtype.itemsize
    previous = np.zeros(width * step, np.uint8)
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    for start in range(0, height, ROWS_AT_ONCE):
        part = pixels[start : start + ROWS_AT_ONCE]
        big_endian = np.ascontiguousarray(part.astype(part.dtype.newbyteorder(">"), copy=False))
        rows = big_endian.view(np.uint8).reshape(len(part), width * step)
        packed = packer.compress(_filtered(rows, previous, step))
        previous = rows[-1]
        if packed:
            out.append(_chunk(b"IDAT", packed))
    out += [_chunk(b"IDAT", packer.flush()), _chunk(b"IEND", b"")]
    return b"".join(out)

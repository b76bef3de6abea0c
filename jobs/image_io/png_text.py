"""What stands as text in a PNG: XMP, comments, and the EXIF and IPTC blocks that ImageMagick writes in hexadecimal."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from .iptc import as_resource, find_iptc
from .png import Chunk

XMP_KEYWORD = b"XML:com.adobe.xmp"
RAW_PROFILE = b"Raw profile type "
COMMENT = b"Comment"
_MOST = 16_000_000  # bytes that a text may unpack to
_HEX_BYTES = 36  # in a line


def keyword_of(chunk: Chunk) -> bytes:
    """The keyword of a text chunk; empty for other chunks."""
    kind, content = chunk
    return content.partition(b"\0")[0] if kind in (b"tEXt", b"zTXt", b"iTXt") else b""


def text_of(chunk: Chunk) -> bytes | None:
    """The text of a text chunk as bytes (Latin-1; UTF-8 in iTXt); None where it cannot be unpacked."""
    kind, content = chunk
    _, _, rest = content.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]  # behind language and translated keyword
    elif packed:
        rest = rest[1:]
    if not packed:
        return rest
    try:
        return zlib.decompressobj().decompress(rest, _MOST)
    except zlib.error:
        return None


def find_text(chunks: Iterable[Chunk], keyword: bytes) -> bytes | None:
    """The text of the first chunk of this keyword."""
    return next((text_of(chunk) for chunk in chunks if keyword_of(chunk) == keyword), None)


def find_raw_profile(chunks: Iterable[Chunk], *names: bytes) -> bytes | None:
    """The block in a "Raw profile type NAME": lines with the name, the length, and hexadecimal digits."""
    chunks = list(chunks)
    for name in names:
        text = find_text(chunks, RAW_PROFILE + name)
        lines = (text or b"").split(None, 2)
        if len(lines) == 3 and lines[1].isdigit():
            try:
                return bytes.fromhex(lines[2].decode("ascii"))[: int(lines[1])]
            except ValueError:
                continue
    return None


def iptc_of(chunks: Iterable[Chunk]) -> bytes | None:
    """The IPTC records, which stand alone or inside of Photoshop's resources."""
    block = find_raw_profile(chunks, b"iptc", b"8bim", b"APP13")
    return None if block is None else find_iptc(block.removeprefix(b"Photoshop 3.0\0"))


def iptc_chunk(records: bytes) -> Chunk:
    """IPTC records as ImageMagick and exiftool read them."""
    block = as_resource(records)
    digits = b"\n".join(block[i : i + _HEX_BYTES].hex().encode() for i in range(0, len(block), _HEX_BYTES))
    text = b"\niptc\n%8d\n%s\n" % (len(block), digits)
    return b"zTXt", RAW_PROFILE + b"iptc\0\0" + zlib.compress(text)


def comment_chunk(comment: bytes) -> Chunk:
    """A JPEG's comment: UTF-8 where it is, else Latin-1; a zero byte would end it."""
    text = comment.replace(b"\0", b"")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return b"tEXt", COMMENT + b"\0" + text
    return b"iTXt", COMMENT + b"\0\0\0\0\0" + text


def xmp_chunk(packet: bytes) -> Chunk:
    """An XMP packet."""
    return b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + packet

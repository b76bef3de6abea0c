"""Read a picture file into float pixels and metadata, or say in one sentence why not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from . import exif, jpeg, png, png_text, webp
from .heif import open_heif
from .kinds import HEAD_BYTES, READ_NAMES, describe, kind_of
from .opening import open_with_pillow, opencv_to_rgb, read_dpi, samples_of
from .picture import MAX_PIXELS, ImageFileError, Metadata, Picture, refuse_huge, to_float, upright

if TYPE_CHECKING:
    from PIL import Image

XMP_KEYS = ("xmp", "XML:com.adobe.xmp")
NO_END = "the end of the file is missing; the picture itself could be read"
MOST_BYTES = 8 * MAX_PIXELS  # of a file that a library takes as one block: 16-bit RGBA without compression
_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Decoded(NamedTuple):
    """uint8 or uint16 samples (H,W[,C]) as stored, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; orientation 1…8."""

    samples: np.ndarray
    meta: Metadata
    orientation: int


def read_picture(path: Path) -> Picture:
    """The first (mostly only) picture in a JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF file.

    The content decides, not the extension. Orientation is applied; grey, palette and CMYK become RGB. Nothing is read
    of a file that is no regular file, or whose first bytes are those of another kind.

    Raises:
        ImageFileError: missing, unreadable, damaged, cut off, too large, or of another kind; names the file.
    """
    try:
        with ExitStack() as stack:
            file = stack.enter_context(_open(path))
            picture = _upright_picture(_decode(file))
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error
    except MemoryError as error:
        raise ImageFileError(f"{path}: not enough memory to read it.") from error
    except Exception as error:  # decoders fail on damaged files with every kind of exception
        reason = str(error).strip() or type(error).__name__
        raise ImageFileError(f"{path}: the file is damaged or cut off ({reason}).") from error
    return replace(picture, path=path)


def read_gray(path: Path) -> np.ndarray:
    """A mask file as (H,W) float32 in [0,1]: its brightness; transparency is not looked at.

    Raises:
        ImageFileError: as ``read_picture``.
    """
    return luma(read_picture(path).pixels[..., :3])


def luma(rgb: np.ndarray) -> np.ndarray:
    """(…,3) float -> (…) float32, BT.601 weights; three equal values give that value (to rounding)."""
    return (rgb @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)


def _open(path: Path) -> BinaryIO:
    """The file for reading, after a look at what it is: opening a pipe would wait for ever."""
    try:
        mode = path.stat().st_mode
        for is_kind, name in _SPECIAL:
            if is_kind(mode):
                raise ImageFileError(f"expected a picture file, got {name}.")
        return path.open("rb")
    except (OSError, ValueError) as error:
        if isinstance(error, ImageFileError):
            raise
        raise ImageFileError(f"cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _decode(file: BinaryIO) -> Decoded:
    head = file.read(HEAD_BYTES)
    if not head:
        raise ImageFileError("the file is empty.")
    kind = kind_of(head)
    if kind is None:
        raise ImageFileError(f"expected {READ_NAMES}: {describe(head)}.")
    return _DECODERS[kind](file)


def _upright_picture(decoded: Decoded) -> Picture:
    samples, meta, orientation = decoded
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape[2] <= 2:  # grey (+ alpha)
        samples = np.concatenate([samples[..., :1]] * 3 + [samples[..., 1:]], axis=2)
    return Picture(to_float(np.ascontiguousarray(upright(samples, orientation))), meta)


def _whole(file: BinaryIO, length: int | None = None) -> bytes:
    """The file as one block.

    Raises:
        ImageFileError: it is larger than any picture that is read.
    """
    size = os.fstat(file.fileno()).st_size if length is None else length
    if size > MOST_BYTES:
        raise ImageFileError(f"its {size / 1e9:.1f} GB are more than a picture of {MAX_PIXELS // 10**6} MP can take.")
    file.seek(0)
    return file.read(size)


def _decode_jpeg(file: BinaryIO) -> Decoded:
    segments = jpeg.read_segments(file)
    ends_early = False
    image = open_with_pillow(file)
    try:
        image.load()
    except OSError:
        data = jpeg.with_end(_whole(file))
        if data is None:
            raise
        image, ends_early = open_with_pillow(data), True
    meta = replace(_metadata(image, "JPEG"), iptc=jpeg.iptc_of(segments), comments=jpeg.comments_of(segments))
    samples, meta = samples_of(image, _without_end(meta) if ends_early else meta)
    return Decoded(samples, meta, _orientation(image, meta))


def _decode_png(file: BinaryIO) -> Decoded:
    """Pillow sees the pixels alone: it refuses large text and profiles, and everything else is in the chunks."""
    file.seek(len(png.SIGNATURE) + 8)
    refuse_huge(*png.size_of(file.read(8).ljust(8, b"\0")))
    chunks, complete = png.scan(file)
    header = chunks[0][1]
    depth, colour_type = header[8:10]
    data = png.pixels_only(chunks)
    first: dict[bytes, bytes] = {}
    for kind, content in chunks:
        first.setdefault(kind, content)
    block = first.get(b"eXIf") or png_text.find_raw_profile(chunks, b"exif", b"APP1")
    icc = first.get(b"iCCP")
    meta = Metadata(
        format="PNG",
        bits=16 if depth == 16 else 8,
        gray=colour_type in (0, 4),
        icc=None if icc is None else png.profile_of(icc),
        exif=exif.strip_prefix(block) if block else None,
        xmp=png_text.find_text(chunks, png_text.XMP_KEYWORD) or png_text.find_raw_profile(chunks, b"xmp"),
        iptc=png_text.iptc_of(chunks),
        dpi=_png_dpi(first.get(b"pHYs")),
        png_chunks=tuple(c for c in chunks if c[0] in (*png.COLOUR_CHUNKS, *png.OTHER_KEPT_CHUNKS) and not _carried(c)),
    )
    pictures = int.from_bytes(first.get(b"acTL", b"")[:4], "big")
    meta = _with_further_pictures(meta, pictures)
    meta = meta if complete else _without_end(meta)
    if meta.bits == 16:
        samples = _decode_png16(data)
    else:
        with open_with_pillow(data) as image:
            samples, meta = samples_of(image, meta)
    return Decoded(samples, meta, exif.read_orientation(meta.exif or b""))


def _carried(chunk: png.Chunk) -> bool:
    """Whether the chunk's content is carried elsewhere: as xmp, or as a block whose orientation is applied."""
    keyword = png_text.keyword_of(chunk)
    return keyword == png_text.XMP_KEYWORD or keyword.startswith(png_text.RAW_PROFILE)


def _png_dpi(content: bytes | None) -> tuple[float, float] | None:
    if content is None or len(content) != 9 or content[8] != 1:  # 1: per metre
        return None
    return read_dpi([int.from_bytes(content[i : i + 4], "big") * 0.0254 for i in (0, 4)])


def _decode_png16(data: bytes) -> np.ndarray:
    """uint16 (H,W,C): RGB(A), or grey as (H,W,1); grey + alpha comes as four channels."""
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise ImageFileError("the 16-bit pixels cannot be decoded; the file is damaged.")
    return opencv_to_rgb(samples)


def _decode_webp(file: BinaryIO) -> Decoded:
    file.seek(0)
    data = _whole(file, min(webp.container_bytes(file.read(12)), os.fstat(file.fileno()).st_size))
    with open_with_pillow(data) as image:
        meta = replace(_metadata(image, "WEBP"), lossless=webp.is_lossless(data))
        samples, meta = samples_of(image, meta)
        return Decoded(samples, meta, _orientation(image, meta))


def _decode_bmp(file: BinaryIO) -> Decoded:
    with open_with_pillow(file) as image:
        samples, meta = samples_of(image, _metadata(image, "BMP"))
        return Decoded(samples, meta, 1)


def _decode_tiff(file: BinaryIO) -> Decoded:
    from .tiff import decode_tiff  # tifffile is needed for TIFF alone

    return Decoded(*decode_tiff(file, lambda: _whole(file)))


def _decode_heif(file: BinaryIO, kind: str) -> Decoded:
    image, bits = open_heif(_whole(file), kind)
    with image:
        meta = _metadata(image, kind)
        if bits > 8:
            meta = meta.with_note(f"{bits} bits per channel were reduced to 8")
        samples, meta = samples_of(image, meta)
        # libheif turns the pixels itself and resets the tag
        return Decoded(samples, meta, 1 if kind == "HEIC" else _orientation(image, meta))


_DECODERS: dict[str, Callable[[BinaryIO], Decoded]] = {
    "JPEG": _decode_jpeg,
    "PNG": _decode_png,
    "WEBP": _decode_webp,
    "BMP": _decode_bmp,
    "TIFF": _decode_tiff,
    "HEIC": lambda file: _decode_heif(file, "HEIC"),
    "AVIF": lambda file: _decode_heif(file, "AVIF"),
}


def _metadata(image: Image.Image, kind: str) -> Metadata:
    """What Pillow knows beside the pixels."""
    info = image.info
    xmp = next((info[key] for key in XMP_KEYS if info.get(key)), None)
    meta = Metadata(
        format=kind,
        gray=image.mode in ("1", "L", "LA"),
        icc=info.get("icc_profile") or None,
        exif=exif.strip_prefix(info["exif"]) if info.get("exif") else None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=read_dpi(info.get("dpi")),
    )
    return _with_further_pictures(meta, getattr(image, "n_frames", 1))


def _without_end(meta: Metadata) -> Metadata:
    return replace(meta, complete=False).with_note(NO_END)


def _with_further_pictures(meta: Metadata, pictures: int) -> Metadata:
    if pictures <= 1:
        return meta
    return meta.with_note(f"the file holds {pictures} pictures or pages; only the first is used")


def _orientation(image: Image.Image, meta: Metadata) -> int:
    """By the EXIF block; where there is none, by what Pillow finds in the XMP packet."""
    return exif.read_orientation(meta.exif) if meta.exif else int(image.getexif().get(exif.ORIENTATION, 1))

"""Read a picture file into float pixels and metadata, or say in one sentence why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import exif, png
from .opening import open_with_pillow, opencv_to_rgb, read_dpi, samples_of
from .picture import ImageFileError, Metadata, Picture, to_float, upright

if TYPE_CHECKING:
    from PIL import Image

XMP_KEYS = ("xmp", "XML:com.adobe.xmp")
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
GRAY_COLOUR_TYPES = (0, 4)  # of PNG: grey, grey + alpha


def read_picture(path: Path) -> Picture:
    """The first (mostly only) picture in a JPEG, PNG, WebP or TIFF file.

    The content decides, not the extension. Orientation is applied; grey, palette and CMYK become RGB.

    Raises:
        ImageFileError: missing, unreadable, damaged, cut off, too large, or of another kind; names the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not data:
        raise ImageFileError(f"{path}: the file is empty.")
    try:
        picture = _decode(data)
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


def _decode(data: bytes) -> Picture:
    if data[:4] in TIFF_HEADERS:
        from .tiff import decode_tiff  # tifffile is needed for TIFF alone

        samples, meta, orientation = decode_tiff(data)
    else:
        with open_with_pillow(data) as image:
            meta = _metadata(image, data)
            # Pillow's answer also looks into XMP, but not behind the pixels, where a PNG's EXIF may stand
            named = image.getexif().get(exif.ORIENTATION, 1)
            orientation = exif.read_orientation(meta.exif) if meta.exif else named
            if meta.bits == 16:
                samples = _decode_png16(data)
            else:
                samples, meta = samples_of(image, meta)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape[2] <= 2:  # grey (+ alpha)
        samples = np.concatenate([samples[..., :1]] * 3 + [samples[..., 1:]], axis=2)
    return Picture(np.ascontiguousarray(to_float(upright(samples, orientation))), meta)


def _metadata(image: Image.Image, data: bytes) -> Metadata:
    """Everything but the pixels, and notes on further frames."""
    info = image.info
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    xmp = next((info[key] for key in XMP_KEYS if info.get(key)), None)
    meta = Metadata(
        format=kind,
        gray=image.mode in ("1", "L", "LA"),
        icc=info.get("icc_profile") or None,
        exif=exif.strip_prefix(info["exif"]) if info.get("exif") else None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=read_dpi(info.get("dpi")),
        lossless=kind == "WEBP" and b"VP8L" in data[:64],
    )
    if kind == "PNG":
        chunks = png.read_chunks(data)
        kept = tuple(c for c in chunks if c[0] in (*png.COLOUR_CHUNKS, *png.OTHER_KEPT_CHUNKS))
        xmp_chunk = b"XML:com.adobe.xmp"
        kept = tuple(c for c in kept if not (c[0] == b"iTXt" and c[1].startswith(xmp_chunk)))  # carried as xmp
        # EXIF as text, from ImageMagick: its orientation is applied to the pixels and must not be applied again
        kept = tuple(c for c in kept if not c[1].startswith(b"Raw profile type"))
        block = next((content for chunk, content in chunks if chunk == b"eXIf"), meta.exif)
        if block is None and len(image.getexif()):
            block = exif.strip_prefix(image.getexif().tobytes())
        depth, colour_type = chunks[0][1][8:10]
        gray = colour_type in GRAY_COLOUR_TYPES
        meta = replace(meta, png_chunks=kept, exif=block, gray=gray, bits=16 if depth == 16 else 8)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        meta = meta.with_note(f"the file holds {frames} pictures or pages; only the first is used")
    return meta


def _decode_png16(data: bytes) -> np.ndarray:
    """uint16 (H,W,C): RGB(A), or grey as (H,W,1); grey + alpha comes as four channels."""
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise ImageFileError("the 16-bit pixels cannot be decoded; the file is damaged.")
    return opencv_to_rgb(samples)

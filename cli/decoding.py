"""Read a picture file into float pixels and metadata, or say in one sentence why not."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import exif, png
from .picture import MAX_PIXELS, READABLE, ImageFileError, Metadata, Picture, to_float, upright

if TYPE_CHECKING:
    from PIL import Image

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")  # a phone's JPEG with further pictures opens as MPO
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


def open_with_pillow(data: bytes) -> Image.Image:
    """The file's header read, its pixels not yet.

    Raises:
        ImageFileError: too many pixels, or not a JPEG, PNG, WebP or TIFF.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on large pictures (judged here) and odd tags
        try:
            image = Image.open(io.BytesIO(data), formats=PILLOW_FORMATS)
        except UnidentifiedImageError as error:
            raise ImageFileError(_what_it_is(data)) from error
        except Image.DecompressionBombError as error:
            raise ImageFileError(too_large()) from error
    refuse_huge(image.width, image.height)
    return image


def refuse_huge(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageFileError(too_large(f"{width} × {height} pixels"))


def too_large(size: str = "the picture") -> str:
    return f"{size} is more than the {MAX_PIXELS // 1_000_000} million pixels that are read at once; shrink it first."


def _what_it_is(data: bytes) -> str:
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        kind = "it is a web page or SVG, not a photo"
    elif head.startswith(b"version https://git-lfs"):
        kind = "it is a git-lfs pointer; fetch the file itself with 'git lfs pull'"
    elif head.startswith((b"gif8", b"bm")) or data[4:8] == b"ftyp":
        kind = "GIF, BMP, HEIC, AVIF and videos are not read; convert it first (frames of a video: ffmpeg)"
    else:
        kind = "it is no picture of these kinds, or its beginning is damaged"
    return f"expected {READABLE}: {kind}."


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


def read_dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


def _decode_png16(data: bytes) -> np.ndarray:
    """uint16 (H,W,C): RGB(A), or grey as (H,W,1); grey + alpha comes as four channels."""
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise ImageFileError("the 16-bit pixels cannot be decoded; the file is damaged.")
    return opencv_to_rgb(samples)


def opencv_to_rgb(samples: np.ndarray) -> np.ndarray:
    """(H,W), (H,W,3) BGR or (H,W,4) BGRA -> (H,W,1), RGB or RGBA."""
    if samples.ndim == 2:
        return samples[..., None]
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]] if samples.shape[2] >= 3 else samples


def samples_of(image: Image.Image, meta: Metadata) -> tuple[np.ndarray, Metadata]:
    """uint8 (H,W[,C]) of what Pillow opened, in grey, grey + alpha, RGB or RGBA."""
    transparent = "transparency" in image.info
    if image.mode in ("CMYK", "YCbCr", "LAB", "RGBX"):
        image, meta = _to_rgb(image, meta)
    elif image.mode in ("1", "L"):
        image = image.convert("LA" if transparent else "L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if transparent or image.mode == "PA" else "RGB")
    elif image.mode == "RGB" and transparent:
        image = image.convert("RGBA")
    elif image.mode not in ("LA", "RGB", "RGBA"):
        raise ImageFileError(f"expected 8 or 16 bits in grey, RGB or CMYK, got {image.mode!r}; convert it first.")
    return np.asarray(image), meta


def _to_rgb(image: Image.Image, meta: Metadata) -> tuple[Image.Image, Metadata]:
    """Print and video colours -> sRGB, through the file's profile where there is one that fits."""
    from PIL import ImageCms

    if image.mode in ("YCbCr", "RGBX"):
        return image.convert("RGB"), meta  # the same colours, stored another way
    note = f"{image.mode} colours were converted to sRGB"
    if meta.icc:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(meta.icc))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted, replace(meta, icc=None).with_note(note)
    meta = replace(meta, icc=None).with_note(f"{note} without a colour profile: they are approximate")
    return image.convert("RGB"), meta

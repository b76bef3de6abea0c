"""What the decoders share: opening a file with Pillow, its limits, and samples in grey, RGB or RGBA."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .picture import ImageFileError, Metadata, refuse_huge, too_large

if TYPE_CHECKING:
    from PIL import Image

PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB")  # a phone's JPEG with further pictures opens as MPO


def open_with_pillow(source: bytes | BinaryIO) -> Image.Image:
    """The file's header read, its pixels not yet.

    Raises:
        ImageFileError: too many pixels, or not a kind that Pillow reads here.
    """
    from PIL import Image, UnidentifiedImageError

    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on large pictures (judged here) and odd tags
        try:
            image = Image.open(stream, formats=PILLOW_FORMATS)
        except UnidentifiedImageError as error:
            raise ImageFileError("its header is damaged.") from error
        except Image.DecompressionBombError as error:
            raise ImageFileError(too_large()) from error
    refuse_huge(image.width, image.height)
    return image


def read_dpi(value: Any) -> tuple[float, float] | None:
    """Pixels per inch (x, y); None where the value is no such pair."""
    try:
        x, y = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e5 and 0 < y < 1e5 else None


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

"""Write float pixels as a picture file with the metadata of the file they came from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..atomic import write_atomically
from . import png
from .decoding import luma
from .exif import describe_upright, upright_xmp
from .picture import FORMAT_OF_SUFFIX, READABLE, ImageFileError, Metadata, to_integers

LARGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383}  # pixels, by the formats' own definitions
JPEG_BLOCK_LIMIT = 65_533  # bytes of one EXIF or XMP segment with its prefix
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"


def format_for(path: Path) -> str:
    """JPEG, PNG, WEBP or TIFF, by the extension.

    Raises:
        ImageFileError: another or no extension.
    """
    kind = FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if kind is None:
        raise ImageFileError(
            f"{path}: expected an extension of {READABLE} (.jpg .png .webp .tif), got {path.suffix or 'none'}."
        )
    return kind


def write_picture(path: Path, pixels: np.ndarray, meta: Metadata, quality: int = 95) -> tuple[str, ...]:
    """Write (H,W,3|4) float32 in [0,1], upright, in the format of the extension; whole or not at all.

    Grey stays grey, 16 bits stay 16 where the format has them, profile and EXIF go along (orientation 1, no thumbnail).

    Args:
        quality: 1 to 100 for JPEG (4:4:4) and WebP; 100, or a lossless source, makes WebP lossless.

    Returns:
        Sentences on what the format could not hold.

    Raises:
        ImageFileError: no such format, or a picture too large for it.
        OSError: the folder cannot be written to.
    """
    kind = format_for(path)
    height, width = pixels.shape[:2]
    largest = LARGEST_SIDE.get(kind)
    if largest and max(height, width) > largest:
        got = f"got {width} × {height}"
        raise ImageFileError(f"{path}: {kind} holds at most {largest} pixels a side, {got}; write PNG or TIFF.")
    notes: list[str] = []
    if kind == "JPEG" and pixels.shape[2] == 4:
        if (pixels[..., 3] < 1).any():
            notes.append("JPEG has no transparency: the picture was laid on white")
        pixels = pixels[..., :3] * pixels[..., 3:] + (1 - pixels[..., 3:])
    if kind in LARGEST_SIDE and meta.bits == 16:
        notes.append(f"{kind} holds 8 bits per channel: 16 were rounded to 8")
    samples = _samples(pixels, meta.gray, 8 if kind in LARGEST_SIDE else meta.bits)
    icc = meta.icc
    exif_block, xmp = describe_upright(meta.exif, width, height), upright_xmp(meta.xmp)
    if kind == "PNG":
        kept = list(meta.png_chunks)
        if xmp:
            kept.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
        if meta.dpi and not any(chunk[0] == b"pHYs" for chunk in kept):
            per_metre = (round(value / 0.0254) for value in meta.dpi)
            kept.append((b"pHYs", b"".join(value.to_bytes(4, "big") for value in per_metre) + b"\1"))
        data = png.encode(samples, icc=icc, exif=exif_block, kept=kept)
    elif kind == "TIFF":
        from .tiff import encode_tiff  # tifffile is needed for TIFF alone

        data = encode_tiff(samples, icc=icc, exif_block=exif_block, xmp=xmp, dpi=meta.dpi)
    else:
        data = _encode_with_pillow(samples, kind, meta, quality, icc, exif_block, xmp, notes)
    write_atomically(path, data)
    return tuple(notes)


def write_rgb(path: Path, pixels: np.ndarray, icc: bytes | None = None, quality: int = 95) -> None:
    """A picture of our own making (a crop, a sheet): (H,W,3) float32 in [0,1] as 8 bit, whole or not at all."""
    write_picture(path, pixels, Metadata(format=format_for(path), icc=icc), quality)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """(H,W) float in [0,1] as 16-bit grey PNG, rounded up: 0 in the file is exactly 0 in the mask, untouched."""
    top = np.float64(65535)
    write_atomically(path, png.encode(np.ceil(np.clip(mask.astype(np.float64), 0, 1) * top).astype(np.uint16)))


def _samples(pixels: np.ndarray, gray: bool, bits: int) -> np.ndarray:
    """(H,W,C) integers, C = 1 or 2 for grey."""
    if gray:
        pixels = np.concatenate([luma(pixels[..., :3])[..., None], pixels[..., 3:]], axis=2)
    return to_integers(pixels, bits)


def _encode_with_pillow(
    samples: np.ndarray,
    kind: str,
    meta: Metadata,
    quality: int,
    icc: bytes | None,
    exif_block: bytes | None,
    xmp: bytes | None,
    notes: list[str],
) -> bytes:
    """JPEG or WebP."""
    from PIL import Image

    options: dict[str, object] = {"quality": quality}
    if kind == "JPEG":
        options |= {"subsampling": "4:4:4"} if samples.shape[2] == 3 else {}
        if meta.dpi:
            options["dpi"] = meta.dpi
        if exif_block and len(exif_block) + 6 > JPEG_BLOCK_LIMIT:
            notes.append("the EXIF block is too long for JPEG and was left out")
            exif_block = None
        if xmp and len(xmp) + len(XMP_PREFIX) > JPEG_BLOCK_LIMIT:
            notes.append("the XMP packet is too long for JPEG and was left out")
            xmp = None
    else:
        if icc and icc[16:20] == b"GRAY":
            icc = None  # WebP holds RGB alone
        options |= {"lossless": meta.lossless or quality == 100, "exact": True}
    if icc:
        options["icc_profile"] = icc
    if exif_block:
        options["exif"] = b"Exif\0\0" + exif_block
    if xmp:
        options["xmp"] = xmp
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    if kind == "WEBP" and image.mode in ("L", "LA"):
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()

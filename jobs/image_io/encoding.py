"""Write float pixels as a picture file with the metadata of the file they came from."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..atomic import write_atomically
from . import jpeg, png, png_text
from .decoding import luma
from .exif import describe_upright, upright_xmp
from .kinds import WRITTEN, WRITTEN_NAMES
from .picture import ROWS_AT_ONCE, ImageFileError, Metadata, to_integers

LARGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383}  # pixels, by the formats' own definitions
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"


def format_for(path: Path) -> str:
    """JPEG, PNG, WEBP or TIFF, by the extension.

    Raises:
        ImageFileError: another or no extension.
    """
    kind = WRITTEN.get(path.suffix.lower())
    if kind is None:
        raise ImageFileError(
            f"{path}: expected an extension of {WRITTEN_NAMES} (.jpg .png .webp .tif), got {path.suffix or 'none'}."
        )
    return kind


def write_picture(
    path: Path, pixels: np.ndarray, meta: Metadata, quality: int = 95, mode_of: Path | None = None
) -> tuple[str, ...]:
    """Write (H,W,3|4) float32 in [0,1], upright, in the format of the extension; whole or not at all.

    Grey stays grey, 16 bits stay 16 where the format has them, profile and EXIF go along (orientation 1, no thumbnail).

    Args:
        quality: 1 to 100 for JPEG (4:4:4) and WebP; 100, or a lossless source, makes WebP lossless.
        mode_of: as ``write_atomically``.

    Returns:
        Sentences on what the format could not hold.

    Raises:
        ImageFileError: no such format, a picture too large for it, or one that a library could not encode.
        OSError: the folder cannot be written to.
    """
    kind = format_for(path)
    height, width = pixels.shape[:2]
    largest = LARGEST_SIDE.get(kind)
    if largest and max(height, width) > largest:
        got = f"got {width} × {height}"
        raise ImageFileError(f"{path}: {kind} holds at most {largest} pixels a side, {got}; write PNG or TIFF.")
    notes: list[str] = []
    try:
        data = _encode(kind, pixels, meta, quality, notes)
    except MemoryError as error:
        raise ImageFileError(f"{path}: not enough memory to encode it as {kind}.") from error
    except ImageFileError as error:
        raise ImageFileError(f"{path}: {error}") from error
    except Exception as error:  # libraries fail with every kind of exception, by version
        reason = str(error).strip() or type(error).__name__
        raise ImageFileError(f"{path}: it could not be encoded as {kind} ({reason}).") from error
    write_atomically(path, data, mode_of)
    return tuple(notes)


def write_rgb(
    path: Path, pixels: np.ndarray, icc: bytes | None = None, quality: int = 95, mode_of: Path | None = None
) -> None:
    """A picture of our own making (a crop, a sheet): (H,W,3) float32 in [0,1] as 8 bit, whole or not at all."""
    write_picture(path, pixels, Metadata(format=format_for(path), icc=icc), quality, mode_of)


def write_mask(path: Path, mask: np.ndarray, mode_of: Path | None = None) -> None:
    """(H,W) float in [0,1] as 16-bit grey PNG, rounded up: 0 in the file is exactly 0 in the mask, untouched."""
    samples = np.empty(mask.shape, np.uint16)
    for start in range(0, len(mask), ROWS_AT_ONCE):
        strip = np.clip(mask[start : start + ROWS_AT_ONCE].astype(np.float64), 0, 1)
        samples[start : start + ROWS_AT_ONCE] = np.ceil(strip * np.float64(65535))
    write_atomically(path, png.encode(samples), mode_of)


def _encode(kind: str, pixels: np.ndarray, meta: Metadata, quality: int, notes: list[str]) -> bytes:
    if kind == "JPEG" and pixels.shape[2] == 4:
        if (pixels[..., 3] < 1).any():
            notes.append("JPEG has no transparency: the picture was laid on white")
        pixels = pixels[..., :3] * pixels[..., 3:] + (1 - pixels[..., 3:])
    if kind in LARGEST_SIDE and meta.bits == 16:
        notes.append(f"{kind} holds 8 bits per channel: 16 were rounded to 8")
    height, width = pixels.shape[:2]
    samples = _samples(pixels, meta.gray, 8 if kind in LARGEST_SIDE else meta.bits)
    meta = replace(meta, exif=describe_upright(meta.exif, width, height), xmp=upright_xmp(meta.xmp))
    notes += _without_place(kind, meta)
    if kind == "PNG":
        return png.encode(samples, icc=meta.icc, exif=meta.exif, kept=_png_chunks(meta))
    if kind == "TIFF":
        from .tiff_writing import encode_tiff  # tifffile is needed for TIFF alone

        return encode_tiff(
            samples, icc=meta.icc, exif_block=meta.exif, xmp=meta.xmp, iptc_records=meta.iptc, dpi=meta.dpi
        )
    return _encode_with_pillow(samples, kind, meta, quality, notes)


def _samples(pixels: np.ndarray, gray: bool, bits: int) -> np.ndarray:
    """(H,W,C) integers, C = 1 or 2 for grey."""
    if gray:
        pixels = np.concatenate([luma(pixels[..., :3])[..., None], pixels[..., 3:]], axis=2)
    return to_integers(pixels, bits)


def _without_place(kind: str, meta: Metadata) -> list[str]:
    """What the format has no place for."""
    lost = []
    if meta.iptc and kind == "WEBP":
        lost.append("WebP has no place for IPTC captions and keywords: they were left out")
    if meta.comments and kind in ("WEBP", "TIFF"):
        lost.append(f"{kind} has no place for the comment of a JPEG: it was left out")
    texts = [png_text.keyword_of(chunk).decode("latin-1") for chunk in meta.png_chunks]
    if kind != "PNG" and any(texts):
        lost.append(f"{kind} has no place for the texts of a PNG: {', '.join(filter(None, texts))} left out")
    return lost


def _png_chunks(meta: Metadata) -> list[png.Chunk]:
    """What stands around the pixels of a PNG beside profile and EXIF."""
    kept = list(meta.png_chunks)
    if meta.xmp:
        kept.append(png_text.xmp_chunk(meta.xmp))
    if meta.iptc:
        kept.append(png_text.iptc_chunk(meta.iptc))
    kept += [png_text.comment_chunk(comment) for comment in meta.comments]
    if meta.dpi and not any(chunk[0] == b"pHYs" for chunk in kept):
        per_metre = (round(value / 0.0254) for value in meta.dpi)
        kept.append((b"pHYs", b"".join(value.to_bytes(4, "big") for value in per_metre) + b"\1"))
    return kept


def _encode_with_pillow(samples: np.ndarray, kind: str, meta: Metadata, quality: int, notes: list[str]) -> bytes:
    """JPEG or WebP."""
    from PIL import Image

    options: dict[str, object] = {"quality": quality}
    icc, exif_block, xmp = meta.icc, meta.exif, meta.xmp
    if kind == "JPEG":
        options |= {"subsampling": "4:4:4"} if samples.shape[2] == 3 else {}
        if meta.dpi:
            options["dpi"] = meta.dpi
        if exif_block and len(exif_block) + 6 > jpeg.LONGEST:
            notes.append("the EXIF block is too long for JPEG and was left out")
            exif_block = None
        if xmp and len(xmp) + len(XMP_PREFIX) > jpeg.LONGEST:
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
    data = out.getvalue()
    return jpeg.with_segments(data, meta.iptc, meta.comments) if kind == "JPEG" else data

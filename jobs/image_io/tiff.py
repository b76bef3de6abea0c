"""TIFF with 8 and 16 bits read with its alpha, profile and resolution."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from . import exif, iptc
from .opening import open_with_pillow, opencv_to_rgb, read_dpi, refuse_huge, samples_of
from .picture import ImageFileError, Metadata

MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
ASSOCIATED, STRAIGHT = 1, 2  # values of ExtraSamples
INCH, CENTIMETRE = 2, 3
XMP_TAG, ICC_TAG = 700, 34675
RESOLUTION_TAGS, RESOLUTION_UNIT_TAG = (282, 283), 296


def decode_tiff(file: BinaryIO, read_all: Callable[[], bytes]) -> tuple[np.ndarray, Metadata, int]:
    """uint8 or uint16 samples (H,W,C) as stored, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; metadata; orientation 1…8.

    tifffile shows the raw samples. Compressions that it has no codec for go through Pillow (8 bit) or OpenCV (16 bit),
    which turn some pictures upright and others not: they get the file with its orientation set to 1.

    Args:
        file: the TIFF file.
        read_all: gives its bytes, called only where a library needs them as one block.

    Raises:
        ImageFileError: samples that are not 8 or 16 bit, or a layout that would be misread.
    """
    tifffile = load_tifffile()
    file.seek(0)
    with tifffile.TiffFile(file) as container:
        page: Any = container.pages[0]
        refuse_huge(page.imagewidth, page.imagelength)
        _check_complete(page, file.seek(0, os.SEEK_END))
        meta = _metadata(page, len(container.pages))
        orientation = _tag(page, exif.ORIENTATION)
        samples, meta = _samples(page, lambda: _stored_upright(read_all(), page), meta)
    return samples, meta, orientation if isinstance(orientation, int) else 1


def _stored_upright(data: bytes, page: Any) -> bytes:
    """The file with orientation 1, so that no library turns the pixels."""
    tag = page.tags.get(exif.ORIENTATION)
    if tag is None or tag.count != 1 or tag.dtype != exif.SHORT:
        return data
    value = (1).to_bytes(2, "little" if page.parent.byteorder == "<" else "big")
    return data[: tag.valueoffset] + value + data[tag.valueoffset + 2 :]


def _samples(page: Any, read_all: Callable[[], bytes], meta: Metadata) -> tuple[np.ndarray, Metadata]:
    kind, bits = page.photometric, page.bitspersample
    if not isinstance(bits, int):
        raise ImageFileError(f"expected the same number of bits in every channel, got {bits}; convert it first.")
    if kind not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB) or bits < 8:  # palette, print and video colours, black and white
        if bits > 8:
            name = getattr(kind, "name", kind)
            raise ImageFileError(f"16-bit TIFF in {name} colours is not read; save it as RGB first.")
        return _with_pillow(read_all(), meta)
    if page.dtype not in (np.uint8, np.uint16) or bits not in (8, 16):
        raise ImageFileError(f"expected 8 or 16 bits per channel, got {page.dtype} ({bits} bits); convert it first.")
    meta = replace(meta, bits=bits)
    planes_apart = page.planarconfig == 2 and page.samplesperpixel > 1
    try:
        samples = page.asarray()
    except (KeyError, ValueError, ImportError) as error:  # a codec that is not installed
        if bits == 8:
            return _with_pillow(read_all(), meta)
        if planes_apart:
            raise ImageFileError("16-bit TIFF with separate colour planes in this compression is not read.") from error
        samples = _with_opencv(read_all())
    if samples.ndim == 3 and planes_apart:
        samples = np.moveaxis(samples, 0, -1)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.ndim != 3:
        raise ImageFileError(f"expected one flat picture, got an array of shape {samples.shape}.")
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if kind == MIN_IS_WHITE:
        samples = np.concatenate([np.iinfo(samples.dtype).max - samples[..., :1], samples[..., 1:]], axis=2)
    return _with_straight_alpha(samples, 3 if kind == RGB else 1, [int(extra) for extra in page.extrasamples], meta)


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _metadata(page: Any, pages: int) -> Metadata:
    """Profile, resolution, XMP, and the tags that describe the picture as an EXIF block that other formats can hold."""
    from PIL import Image

    block = Image.Exif()
    for code in exif.DESCRIPTIVE_TAGS:
        if isinstance(_tag(page, code), str):
            block[code] = _tag(page, code)
    xmp, icc = _tag(page, XMP_TAG), _tag(page, ICC_TAG)
    resolution = [_tag(page, code) for code in RESOLUTION_TAGS]
    dpi = None
    if all(isinstance(value, tuple) and len(value) == 2 and value[1] for value in resolution):
        unit = {INCH: 1.0, CENTIMETRE: 2.54}.get(_tag(page, RESOLUTION_UNIT_TAG), 0.0)
        dpi = read_dpi([unit * value[0] / value[1] for value in resolution])
    meta = Metadata(
        format="TIFF",
        gray=page.photometric in (MIN_IS_WHITE, MIN_IS_BLACK),
        icc=bytes(icc) if icc else None,
        exif=exif.strip_prefix(block.tobytes()) if len(block) else None,
        xmp=xmp if isinstance(xmp, bytes) else None,
        iptc=_iptc(page),
        dpi=dpi,
    )
    return meta.with_note(f"the file holds {pages} pictures or pages; only the first is used") if pages > 1 else meta


def _iptc(page: Any) -> bytes | None:
    """The IPTC records, which some writers store as bytes and others as 32-bit numbers."""
    value = _tag(page, iptc.TIFF_TAG)
    if isinstance(value, int):
        value = (value,)
    if isinstance(value, tuple) and all(isinstance(v, int) for v in value):
        order = "little" if page.parent.byteorder == "<" else "big"
        value = b"".join(v.to_bytes(4, order) for v in value)
    return iptc.find_iptc(value) if isinstance(value, bytes) else None


def _with_straight_alpha(
    samples: np.ndarray, colours: int, extras: list[int], meta: Metadata
) -> tuple[np.ndarray, Metadata]:
    """Colour channels and, where one of the extra channels is an alpha, that one."""
    alpha = next((i for i, extra in enumerate(extras) if extra in (ASSOCIATED, STRAIGHT)), None)
    dropped = samples.shape[2] - colours - (alpha is not None)
    if dropped > 0:
        meta = meta.with_note(f"{dropped} extra channel(s) that are not transparency were left out")
    if alpha is None:
        return samples[..., :colours], meta
    colour, opacity = samples[..., :colours], samples[..., colours + alpha, None]
    if extras[alpha] == ASSOCIATED:
        top = np.iinfo(samples.dtype).max
        divided = colour.astype(np.float64) * top / np.maximum(opacity, 1)
        colour = np.rint(np.clip(divided, 0, top)).astype(samples.dtype)
        meta = meta.with_note("premultiplied transparency was turned into straight transparency")
    return np.concatenate([colour, opacity], axis=2), meta


def _check_complete(page: Any, length: int) -> None:
    """A decoder may fill what is missing with zeros: refuse before it does."""
    ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if not page.dataoffsets or max(ends, default=0) > length:
        raise ImageFileError("the file is cut off: it refers to pixels beyond its end.")


def _with_pillow(data: bytes, meta: Metadata) -> tuple[np.ndarray, Metadata]:
    with open_with_pillow(data) as image:
        return samples_of(image, meta)


def _with_opencv(data: bytes) -> np.ndarray:
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise ImageFileError("this kind of 16-bit TIFF cannot be decoded; save it without compression or with LZW.")
    return opencv_to_rgb(samples)


def load_tifffile() -> Any:
    """The package tifffile, imported only when a TIFF is read.

    Raises:
        ImageFileError: it is not installed, or cannot be loaded.
    """
    try:
        import tifffile
    except ImportError as error:
        raise ImageFileError(f"TIFF needs the package tifffile ({error}): pip install tifffile.") from error
    return tifffile

"""TIFF with 8 and 16 bits written with its alpha, profile and resolution."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from . import exif, iptc
from .tiff import ICC_TAG, INCH, XMP_TAG, load_tifffile

UNDEFINED = 7  # TIFF's type for bytes without a meaning of their own


def encode_tiff(
    samples: np.ndarray,
    *,
    icc: bytes | None,
    exif_block: bytes | None,
    xmp: bytes | None,
    iptc_records: bytes | None,
    dpi: tuple[float, float] | None,
) -> bytes:
    """A TIFF file, deflate-compressed, of (H,W,C) uint8 or uint16, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.

    Of the EXIF block only descriptive tags have a place in a TIFF page.
    """
    from PIL import Image

    tifffile = load_tifffile()
    channels = samples.shape[2]
    tags: list[tuple[Any, ...]] = []
    if exif_block:
        block = Image.Exif()
        block.load(b"Exif\0\0" + exif_block)
        tags = [(tag, "s", 0, block[tag], True) for tag in exif.DESCRIPTIVE_TAGS if isinstance(block.get(tag), str)]
    if xmp:
        tags.append((XMP_TAG, "B", len(xmp), xmp, True))
    if iptc_records:
        tags.append((iptc.TIFF_TAG, "B", len(iptc_records), iptc_records, True))
    if icc:  # imwrite's own argument for it came with tifffile 2024.5.22
        tags.append((ICC_TAG, UNDEFINED, len(icc), icc, True))
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        samples if channels > 1 else samples[..., 0],
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        resolution=dpi,
        resolutionunit=INCH if dpi else None,
        metadata=None,
        software=False,
        extratags=tags,
    )
    return out.getvalue()

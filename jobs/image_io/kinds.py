"""Which kind of file a picture is: by its extension where files are chosen, by its first bytes where they are read."""

from __future__ import annotations

from collections import Counter

WRITTEN = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
READ_ONLY = {
    ".bmp": "BMP", ".dib": "BMP", ".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF",
}  # fmt: skip
READ = WRITTEN | READ_ONLY
NOT_READ = {
    ".gif": "GIF", ".apng": "APNG", ".jxl": "JPEG XL", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jpx": "JPEG 2000",
    ".psd": "PSD", ".psb": "PSD", ".svg": "SVG", ".exr": "OpenEXR", ".hdr": "Radiance HDR", ".tga": "TGA",
    ".ico": "ICO", ".ppm": "PNM", ".pgm": "PNM", ".pnm": "PNM", ".pbm": "PNM", ".pdf": "PDF",
    ".cr2": "camera raw", ".cr3": "camera raw", ".nef": "camera raw", ".arw": "camera raw", ".dng": "camera raw",
    ".orf": "camera raw", ".raf": "camera raw", ".rw2": "camera raw", ".pef": "camera raw", ".srw": "camera raw",
    ".mp4": "video", ".m4v": "video", ".mov": "video", ".mkv": "video", ".webm": "video", ".avi": "video",
}  # fmt: skip
OTHER = "other file"  # what a folder holds beside pictures
LINKED_TWICE = "linked folder that is read already"

WRITTEN_NAMES = "JPEG, PNG, WebP and TIFF"
READ_NAMES = "JPEG, PNG, WebP, TIFF, BMP, HEIC and AVIF"
TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
HEAD_BYTES = 512  # of a file that `kind_of` and `describe` look at

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"\xff\x0a", "a JPEG XL file"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"PK\x03\x04", "an archive"),
)


def kind_of(head: bytes) -> str | None:
    """JPEG, PNG, WEBP, TIFF, BMP, HEIC or AVIF by a file's first bytes; None for anything else."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:4] in TIFF_HEADERS:
        return "TIFF"
    if head[4:8] == b"ftyp":
        return _iso_kind(head)
    # BM alone begins many a text: the size of the second header tells
    return "BMP" if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS else None


_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))


def _iso_kind(head: bytes) -> str | None:
    """HEIC or AVIF by the brands of an ISO media file: the major one, then the compatible ones."""
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIC" if any(brand in _HEIC_BRANDS for brand in brands) else None


def describe(head: bytes) -> str:
    """What a file of none of the kinds that are read seems to be, as the end of a sentence."""
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "it is a web page or SVG, not a photo"
    if text.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer; fetch the file itself with 'git lfs pull'"
    name = next((name for start, name in _OTHERS if head.startswith(start)), None)
    if name is None and head[4:8] == b"ftyp":
        name = "a video"
    if name is not None:
        return f"it is {name}; convert it first" + (" (frames of a video: ffmpeg)" if name == "a video" else "")
    return "it is none of these kinds, or its beginning is damaged"


def left_out_text(left_out: Counter[str]) -> str:
    """Kinds with their counts, as words: "3 GIF, 2 other files"."""
    parts = [f"{count} {kind}{'s' if count > 1 and kind in (OTHER, LINKED_TWICE) else ''}"
             for kind, count in sorted(left_out.items(), key=lambda item: (item[0] == OTHER, item[0]))]  # fmt: skip
    return ", ".join(parts)

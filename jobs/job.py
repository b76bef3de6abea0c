"""One job: the files that belong to one picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import JobError
from .image_io.kinds import WRITTEN, WRITTEN_NAMES

SIDE_INPUTS = ("mask", "original_image", "upscaled_image")
SIDE_OUTPUTS = ("mask_out", "compare")


@dataclass(frozen=True)
class PictureJob:
    """One picture. ``crops`` is the path of its crops without number and extension."""

    source: Path
    output: Path
    mask: Path | None = None
    original_image: Path | None = None
    upscaled_image: Path | None = None
    mask_out: Path | None = None
    compare: Path | None = None
    crops: Path | None = None

    def inputs(self) -> Iterator[Path]:
        """The files that it reads."""
        yield from (path for path in (self.source, *(getattr(self, name) for name in SIDE_INPUTS)) if path is not None)

    def outputs(self) -> Iterator[Path]:
        """The files that it writes, beside its crops."""
        yield from (path for path in (self.output, self.mask_out, self.compare) if path is not None)


def crop_path(crops: Path, index: int) -> Path:
    """Where the face of this index goes: photo-00.png, photo-01.png, …"""
    return crops.with_name(f"{crops.name}-{index:02d}.png")


def check_suffix(path: Path) -> None:
    """Refuse an output whose extension names no format that is written.

    Raises:
        JobError: names the path.
    """
    if path.suffix.lower() not in WRITTEN:
        kind = f"got {path.suffix}" if path.suffix else "got none"
        raise JobError(f"{path}: expected an extension of {WRITTEN_NAMES} (.jpg .png .webp .tif), {kind}.")

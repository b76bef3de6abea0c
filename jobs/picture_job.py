"""One job from file to file: read, restore, write what was asked for, the picture itself last."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import write_atomically
from .image_io.decoding import read_gray, read_picture
from .image_io.encoding import format_for, write_mask, write_picture, write_rgb
from .image_io.picture import ImageFileError, Metadata, Picture
from .plan import Job, crop_path

if TYPE_CHECKING:
    import torch

    from ..detectors import Detector
    from ..faces import Faces
    from ..models import Restorer
    from ..restoration import Report

FACES_ON_SHEET = 12
CROP_ON_SHEET = 480  # pixels kept of a crop for the sheet
OPTIONS = ("threshold", "select", "order", "min_face_px", "fidelity", "blend_mode", "color_match", "feather",
           "mask_shape", "scale")  # fmt: skip


@dataclass
class Tools:
    """What is loaded once for all pictures; no detector for crops that are aligned already."""

    restorer: Restorer
    detector: Detector | None
    template: str = "gpen"


@dataclass
class Outcome:
    """What became of one job; ``error`` is the sentence that says why not."""

    job: Job
    report: Report | None = None
    size: tuple[int, int] | None = None
    crops: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    skipped: bool = False
    copied: bool = False
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """One line of ``--json``; always the same keys."""
        job, report, done = self.job, self.report, self.error is None and not self.skipped
        return {
            "input": str(job.source),
            "output": None if self.error else str(job.output),
            "ok": self.error is None,
            "error": self.error,
            "skipped": self.skipped,
            "copied": self.copied,
            "width": self.size[1] if self.size else None,
            "height": self.size[0] if self.size else None,
            "faces_found": report.faces_found if report else None,
            "faces_restored": report.faces_restored if report else None,
            "mask_out": str(job.mask_out) if job.mask_out and done else None,
            "compare": str(job.compare) if job.compare and done else None,
            "crops": [str(path) for path in self.crops],
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
            "report": report.to_dict() if report else None,
        }


def restore_file(
    job: Job, tools: Tools, args: argparse.Namespace, on_progress: Callable[[int, int, torch.Tensor | None], None]
) -> Outcome:
    """Do the job; every file that is written is whole, and the output is written last.

    Raises:
        ImageFileError, OSError, ValueError, RuntimeError: the picture could not be read, restored or written.
    """
    start = time.perf_counter()
    outcome = Outcome(job)
    picture = read_picture(job.source)
    if args.color and picture.meta.gray:
        picture = replace(picture, meta=replace(picture.meta, gray=False, icc=picture.meta.icc_for_rgb))
    outcome.warnings += picture.meta.notes
    restore = _restore_photo if tools.detector is not None else _restore_crop
    restore(picture, tools, args, outcome, on_progress)
    outcome.seconds = time.perf_counter() - start
    return outcome


def _restore_photo(
    picture: Picture, tools: Tools, args: argparse.Namespace, outcome: Outcome, on_progress: Callable[..., None]
) -> None:
    import torch

    from ..restoration import restore_image

    assert tools.detector is not None  # restore_file looked
    job = outcome.job
    gallery = _Gallery(job.crops, picture.meta, outcome, wanted=job.compare is not None)
    image = _tensor(picture)
    enlarged = None if job.upscaled_image is None else read_picture(job.upscaled_image)
    meta = picture.meta
    if enlarged is not None:  # its pixels are what is written: so are their depth and colour
        meta = replace(meta, bits=enlarged.meta.bits, gray=enlarged.meta.gray, icc=enlarged.meta.icc)
    result = restore_image(
        image,
        tools.restorer,
        tools.detector,
        template=tools.template,
        crop_size=args.crop_size if args.crop_size == "auto" else int(args.crop_size),
        mask=None if job.mask is None else _mask(job.mask),
        original_image=None if job.original_image is None else _tensor(read_picture(job.original_image)),
        upscaled_image=None if enlarged is None else _tensor(enlarged),
        on_progress=on_progress,
        on_crops=gallery.add,
        **{name: getattr(args, name) for name in OPTIONS},
    )
    outcome.report = result.report
    outcome.warnings += result.report.warnings
    height, width = result.image.shape[1:3]
    outcome.size = (height, width)
    if job.mask_out is not None:
        write_mask(job.mask_out, result.mask[0].cpu().numpy())
    if job.compare is not None:
        _write_sheet(job.compare, picture, result.image, gallery)
    unchanged = result.image.shape == image.shape and torch.equal(result.image, image)
    if unchanged and format_for(job.output) == picture.meta.format:
        write_atomically(job.output, job.source.read_bytes())  # not even a JPEG loses anything
        outcome.copied = True
        return
    outcome.warnings += write_picture(job.output, result.image[0].cpu().numpy(), meta, args.quality)


def _restore_crop(
    picture: Picture, tools: Tools, args: argparse.Namespace, outcome: Outcome, on_progress: Callable[..., None]
) -> None:
    from ..restoration import restore_crops
    from .sheet import comparison_sheet

    height, width = picture.size
    if height != width:
        raise ImageFileError(
            f"{picture.path}: --aligned expects a square crop of one face, got {width} × {height}; without --aligned "
            "the faces of a photo are found."
        )
    if picture.pixels.shape[2] == 4:
        outcome.warnings.append("transparency has no meaning in an aligned crop and was left out")
    restored, report = restore_crops(
        _tensor(picture)[..., :3],
        tools.restorer,
        fidelity=args.fidelity,
        blend_mode=args.blend_mode,
        color_match=args.color_match,
        on_progress=on_progress,
    )
    outcome.report, outcome.size = report, (restored.shape[1], restored.shape[2])
    outcome.warnings += report.warnings
    pixels = restored[0].cpu().numpy()
    if outcome.job.compare is not None:
        sheet = comparison_sheet(picture.pixels[..., :3], pixels)
        write_rgb(outcome.job.compare, sheet, picture.meta.icc_for_rgb)
    outcome.warnings += write_picture(outcome.job.output, pixels, picture.meta, args.quality)


class _Gallery:
    """Watches the crops before they are restored: saves them, and keeps small ones for the sheet."""

    def __init__(self, path: Path | None, meta: Metadata, outcome: Outcome, *, wanted: bool) -> None:
        self.path, self.meta, self.outcome, self.wanted = path, meta, outcome, wanted
        self.count = 0
        self.kept: list[tuple[Faces, np.ndarray]] = []

    def add(self, frame: int, faces: Faces, crops: torch.Tensor) -> None:
        """``on_crops`` of ``restore_image``."""
        for i in range(len(crops)):
            pixels = crops[i, ..., :3].float().cpu().numpy()
            if self.path is not None:
                path = crop_path(self.path, self.count)
                write_picture(path, pixels, Metadata("PNG", bits=self.meta.bits, icc=self.meta.icc_for_rgb))
                self.outcome.crops.append(path)
            if self.wanted and self.count < FACES_ON_SHEET:
                self.kept.append((faces[[i]], _smaller(pixels)))
            self.count += 1


def _smaller(pixels: np.ndarray) -> np.ndarray:
    """A crop of at most ``CROP_ON_SHEET`` pixels a side."""
    if len(pixels) <= CROP_ON_SHEET:
        return pixels
    import cv2

    return cv2.resize(pixels, (CROP_ON_SHEET, CROP_ON_SHEET), interpolation=cv2.INTER_AREA)


def _write_sheet(path: Path, picture: Picture, result: torch.Tensor, gallery: _Gallery) -> None:
    from ..faces import crop_faces
    from .sheet import FacePair, comparison_sheet

    pairs = []
    height, width = result.shape[1:3]
    for i, (face, before) in enumerate(gallery.kept):
        after = crop_faces(result[..., :3], face.scaled_to((height, width)), CROP_ON_SHEET)[0].cpu().numpy()
        pairs.append(FacePair(before, after, f"face {i}: {float(face.sizes[0]):.0f} px in the photo"))
    sheet = comparison_sheet(picture.pixels, result[0].cpu().numpy(), pairs, total_faces=gallery.count)
    write_rgb(path, sheet, picture.meta.icc_for_rgb)


def _tensor(picture: Picture) -> torch.Tensor:
    """(1,H,W,C) float32; shares its memory with the picture, which nobody writes to."""
    import torch

    return torch.from_numpy(picture.pixels)[None]


def _mask(path: Path) -> torch.Tensor:
    """(1,H,W). All black means that nothing is restored, also at 64 × 64, ComfyUI's way to say "no mask"."""
    import torch

    mask = torch.from_numpy(read_gray(path))
    return (mask if mask.any() else torch.zeros(1, 1))[None]

"""One picture on its way: read when its turn comes, and written when it is restored."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from .atomic import copy_atomically
from .gallery import Gallery
from .image_io.decoding import read_gray, read_picture
from .image_io.encoding import format_for, write_mask, write_picture
from .image_io.picture import ImageFileError, Metadata, Picture
from .job import PictureJob
from .memory import check_scale
from .options import RestoreOptions
from .row import FAILURES, Row, sentence_of

if TYPE_CHECKING:
    import torch

    from ..faces import Faces
    from ..restoration import RestoredFrame


class Photo:
    """One picture with all that belongs to it, read when it is first asked for, and its row."""

    def __init__(self, job: PictureJob, options: RestoreOptions) -> None:
        self.job, self.options, self.row = job, options, Row.of(job)
        self.start = 0.0
        self.picture: Picture | None = None
        self.enlarged: Picture | None = None
        self.gallery: Gallery | None = None

    def load(self) -> torch.Tensor:
        """(H,W,C) float32; shares its memory with the picture, which nobody writes to.

        Raises:
            ImageFileError: the picture cannot be read, or the result would be too large.
        """
        self.start = time.perf_counter()
        self.picture = picture = read_source(self.job, self.options)
        self.row.warnings += picture.meta.notes
        if self.job.upscaled_image is None:
            try:
                check_scale(picture.size, picture.pixels.shape[2], picture.meta.bits, self.options.scale)
            except ImageFileError as error:
                raise ImageFileError(f"{self.job.source}: {error}") from error
        self.gallery = Gallery(self.job, picture.meta)
        return as_tensor(picture)

    def mask(self) -> torch.Tensor | None:
        """(H,W). All black means that nothing is restored, also at 64 × 64, ComfyUI's way to say "no mask"."""
        import torch

        if self.job.mask is None:
            return None
        mask = torch.from_numpy(read_gray(self.job.mask))
        return mask if mask.any() else torch.zeros(1, 1)

    def original(self) -> torch.Tensor:
        """(H,W,C), the picture before a swap."""
        assert self.job.original_image is not None  # the jobs of a group have one
        return as_tensor(read_picture(self.job.original_image))

    def upscaled(self) -> torch.Tensor | None:
        """(H',W',C), an enlargement to paste onto."""
        if self.job.upscaled_image is None:
            return None
        self.enlarged = read_picture(self.job.upscaled_image)
        return as_tensor(self.enlarged)

    def add_crops(self, faces: Faces, crops: torch.Tensor) -> None:
        """``on_crops`` of the picture."""
        if self.gallery is not None:
            self.gallery.add(faces, crops)

    def finish(self, result: RestoredFrame) -> Row:
        """Write what was asked for, the picture itself last; the row tells how it went."""
        if self.gallery is not None:
            self.row.crops = self.gallery.paths
        try:
            if result.error is not None:
                raise result.error
            self._write(result)
        except FAILURES as error:
            self.row.error = sentence_of(error, self.job.source)
        self.picture = self.enlarged = self.gallery = None  # lets go of the pixels
        self.row.seconds = time.perf_counter() - self.start
        return self.row

    def _write(self, result: RestoredFrame) -> None:
        import torch

        row, job, picture = self.row, self.job, self.picture
        assert picture is not None and self.gallery is not None  # it was restored
        assert result.image is not None and result.mask is not None
        row.report = result.report
        row.warnings += result.report.warnings
        height, width = result.image.shape[:2]
        row.size = (int(height), int(width))
        if job.mask_out is not None:
            write_mask(job.mask_out, result.mask.cpu().numpy(), mode_of=job.source)
        if job.compare is not None:
            self.gallery.write_sheet(job.compare, picture, result.image)
        image, original = result.image.cpu(), as_tensor(picture)
        unchanged = image.shape == original.shape and torch.equal(image, original)
        if unchanged and picture.meta.complete and format_for(job.output) == picture.meta.format:
            copy_atomically(job.source, job.output)  # not even a JPEG loses anything
            row.copied = True
            return
        row.warnings += write_picture(
            job.output, image.numpy(), self._written_meta(picture.meta), self.options.quality, mode_of=job.source
        )

    def _written_meta(self, meta: Metadata) -> Metadata:
        """The picture's metadata; with an enlargement, whose pixels are what is written, in its depth and colour."""
        if self.enlarged is None:
            return meta
        enlarged = self.enlarged.meta
        return replace(meta, bits=enlarged.bits, gray=enlarged.gray, icc=enlarged.icc)


def read_source(job: PictureJob, options: RestoreOptions) -> Picture:
    """The picture of a job, grey turned into colour where that is asked for.

    Raises:
        ImageFileError: it cannot be read.
    """
    picture = read_picture(job.source)
    if options.color and picture.meta.gray:
        picture = replace(picture, meta=replace(picture.meta, gray=False, icc=picture.meta.icc_for_rgb))
    return picture


def as_tensor(picture: Picture) -> torch.Tensor:
    """(H,W,C) float32; shares its memory with the picture, which nobody writes to."""
    import torch

    return torch.from_numpy(picture.pixels)

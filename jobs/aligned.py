"""Crops that are aligned already: restored as they are, without looking for faces."""

from __future__ import annotations

import time

from .image_io.encoding import write_picture, write_rgb
from .image_io.picture import ImageFileError
from .job import PictureJob
from .options import Networks, OnProgress, RestoreOptions
from .photo import as_tensor, read_source
from .row import FAILURES, Row, sentence_of
from .sheet import comparison_sheet


def restore_aligned(
    job: PictureJob, networks: Networks, options: RestoreOptions, on_progress: OnProgress, before: int = 0
) -> Row:
    """The row of one aligned crop, restored at the model's size and written.

    Args:
        before: how many pictures are done.
    """
    from ..restoration import restore_crops

    row, start = Row.of(job), time.perf_counter()
    try:
        picture = read_source(job, options)
        row.warnings += picture.meta.notes
        height, width = picture.size
        if height != width:
            raise ImageFileError(
                f"{job.source}: --aligned expects a square crop of one face, got {width} × {height}; without "
                "--aligned the faces of a photo are found."
            )
        if picture.pixels.shape[2] == 4:
            row.warnings.append("transparency has no meaning in an aligned crop and was left out")
        restored, report = restore_crops(
            as_tensor(picture)[None, ..., :3],
            networks.restorer,
            fidelity=options.fidelity,
            blend_mode=options.blend_mode,
            color_match=options.color_match,
            on_progress=lambda done, total, _: on_progress(before + done / max(total, 1)),
        )
        row.report, row.size = report, (int(restored.shape[1]), int(restored.shape[2]))
        row.warnings += report.warnings
        pixels = restored[0].cpu().numpy()
        if job.compare is not None:
            sheet = comparison_sheet(picture.pixels[..., :3], pixels)
            write_rgb(job.compare, sheet, picture.meta.icc_for_rgb, mode_of=job.source)
        row.warnings += write_picture(job.output, pixels, picture.meta, options.quality, mode_of=job.source)
    except FAILURES as error:
        row.error = sentence_of(error, job.source)
    row.seconds = time.perf_counter() - start
    return row

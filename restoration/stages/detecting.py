"""First stage: which faces of a frame are restored, and records of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...detectors import Detector, detect_frame
from ...faces import Faces, crop_size_for, faces_mask
from ...faces.geometry.crop import crop_face
from ...faces.selection import choose_faces
from ...faces.swap.changes import NoPartner, changed_in_frame
from ..callbacks import CheckCancel, OnProgress, never_cancelled, no_progress
from ..checks import check_crop_size
from ..door import Batch, open_batch
from ..options import DetectOptions
from ..reporting.report import Report


class Detected(NamedTuple):
    """crops (M,S,S,3), or one black crop where there is no face; the faces; (N,H,W) where they lie; what happened."""

    crops: Tensor
    faces: Faces
    face_mask: Tensor
    report: Report


def find_faces(
    frame: Tensor,
    detector: Detector,
    options: DetectOptions,
    report: Report,
    check_cancel: CheckCancel,
    *,
    mask: Tensor | None = None,
    original: Tensor | None = None,
    no_original: NoPartner | None = None,
) -> Faces:
    """The chosen faces of one frame in the chosen order; the others become records of the report.

    Args:
        frame: (H,W,3 or 4) float in 0…1, known to be finite.
        report: of this frame alone; its frame has the index 0.
        mask: (h,w), or None; faces whose centre lies where it is above 0.5.
        original: the frame before a swap; only faces that differ are kept.
        no_original: why there is no ``original`` although originals were given; then no face is kept.
    """
    report.frames = 1
    report.detector = {"name": detector.name, "provider": detector.provider}
    with report.stage("detect"):
        faces = detect_frame(frame, detector, options.threshold, options.template, check_cancel)
    report.faces_found, report.dropped = len(faces), faces.dropped
    if original is not None or no_original is not None:
        with report.stage("compare"):
            kept, skipped = changed_in_frame(faces, frame, original, 0, no_original or ("no_original", {}))
        report.skipped += skipped
        faces = faces[kept]
    own_mask = None if mask is None else mask[None]
    faces, skipped = choose_faces(faces, options.select, options.order, options.min_face_px, own_mask)
    report.skipped += skipped
    return faces


def detect(
    images: Tensor,
    detector: Detector,
    *,
    threshold: float = 0.6,
    select: str = "all",
    order: str = "large-small",
    min_face_px: float = 16,
    template: str = "gpen",
    crop_size: int | str = "auto",
    mask: Tensor | None = None,
    original_image: Tensor | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
) -> Detected:
    """Find, choose and cut out the faces of a batch.

    Args:
        images: (N,H,W,3 or 4) float in 0…1.
        detector: from :func:`load_detector`.
        threshold, select, order, min_face_px, template: see :class:`DetectOptions`.
        crop_size: side of the crops in pixels, or "auto": the smallest of 256 … 2048 not below the largest face.
        mask: (1 or N,h,w); faces whose centre lies where it is above 0.5.
        original_image: the pictures before a swap; only faces that differ are kept.

    Raises:
        TypeError, ValueError: an input that cannot be meant; the message says what was expected and what came.
    """
    options = DetectOptions(threshold, select, order, min_face_px, template)
    side = check_crop_size(crop_size)
    batch = open_batch(images, check_cancel, mask=mask, original_image=original_image)
    report = Report(faces_found=0)
    parts = []
    for index, found in enumerate(_found(batch, detector, options, report, check_cancel)):
        parts.append(found)
        on_progress(index + 1, len(images), None)
    faces = Faces.concatenate(parts)
    side = crop_size_for(faces) if side is None else side
    crops = images.new_zeros((max(1, len(faces)), side, side, 3), dtype=torch.float32)
    with report.stage("crop"):
        for k, frame in enumerate(faces.frame_indices.tolist()):
            check_cancel()
            crops[k] = crop_face(images[frame], faces.matrices[k], side)
    if not len(faces):
        report.warn("no_face")
    report.note_faces(faces, "detected")
    return Detected(crops, faces, faces_mask(faces).to(images.device), report)


def _found(
    batch: Batch, detector: Detector, options: DetectOptions, report: Report, check_cancel: CheckCancel
) -> Iterator[Faces]:
    for index, frame in enumerate(batch.images):
        check_cancel()
        one = Report()
        yield find_faces(
            frame, detector, options, one, check_cancel,
            mask=batch.mask_of(index), original=batch.original_of(index), no_original=batch.no_original,
        )  # fmt: skip
        report.add_frame(one, index)

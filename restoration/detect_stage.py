"""First stage: which faces of which frames are to be restored, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from ..detectors import Detections, Detector, detect_faces
from ..faces import (
    Faces,
    Skipped,
    changed_faces,
    crop_faces,
    crop_size_for,
    faces_mask,
    select_faces,
)
from ..faces.selection import check_selection, frame_mask
from .callbacks import CheckCancel, OnProgress, never_cancelled, no_progress
from .checks import check_finite, check_fraction, check_images
from .report import FaceNote, Report


class Detected(NamedTuple):
    """crops (M,S,S,3), or one black crop where there is no face; the faces; (N,H,W) where they lie; what happened."""

    crops: torch.Tensor
    faces: Faces
    face_mask: torch.Tensor
    report: Report


def detect(
    images: torch.Tensor,
    detector: Detector,
    *,
    threshold: float = 0.6,
    select: str = "all",
    order: str = "large-small",
    min_face_px: float = 16,
    template: str = "gpen",
    crop_size: int | str = "auto",
    mask: torch.Tensor | None = None,
    original_image: torch.Tensor | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
) -> Detected:
    """Find, choose and cut out faces.

    Args:
        images: (N,H,W,3 or 4) float in 0…1.
        detector: from :func:`load_detector`.
        crop_size: side of the crops in pixels, or "auto": the smallest of 256 … 2048 not below the largest face.
        mask: (1 or N,h,w); faces whose centre lies where it is above 0.5.
        original_image: the pictures before a swap; only faces that differ are kept.

    Raises:
        TypeError, ValueError: an input that cannot be meant; the message says what was expected and what came.
    """
    report = Report()
    faces = find_faces(
        images, detector, report,
        threshold=threshold, select=select, order=order, min_face_px=min_face_px, template=template,
        mask=mask, original_image=original_image, on_progress=on_progress, check_cancel=check_cancel,
    )  # fmt: skip
    size = crop_size_for(faces) if crop_size == "auto" else int(crop_size)
    if len(faces):
        crops = images.new_empty((len(faces), size, size, 3), dtype=torch.float32)
        with report.stage("crop", images.device):
            for index in range(len(faces)):
                check_cancel()
                crops[index] = crop_faces(images, faces[[index]], size)[0]
    else:
        crops = images.new_zeros((1, size, size, 3), dtype=torch.float32)
        report.warn("no face to restore: the crop is one black picture, and pasting returns the image as it is")
    note_faces(report, faces, "detected")
    return Detected(crops, faces, faces_mask(faces).to(images.device), report)


def find_faces(
    images: torch.Tensor,
    detector: Detector,
    report: Report,
    *,
    threshold: float,
    select: str,
    order: str,
    min_face_px: float,
    template: str,
    mask: torch.Tensor | None,
    original_image: torch.Tensor | None,
    on_progress: OnProgress,
    check_cancel: CheckCancel,
) -> Faces:
    """The chosen faces of all frames, frame by frame in the chosen order; the others go into the report."""
    check_images(images, "image")
    check_fraction(threshold, "threshold")
    # before the first frame: to detect the faces of a video takes minutes
    check_selection(select, order, min_face_px)
    frame_mask(mask, len(images))
    _check_frames(images, "image", check_cancel)
    if original_image is not None:
        check_images(original_image, "original_image")
        _check_frames(original_image, "original_image", check_cancel)  # NaN would count as changed, or as unchanged
    report.frames = len(images)
    report.detector = {"name": detector.name, "provider": detector.provider}
    asked = _AskedBetweenPasses(detector, check_cancel)
    found = []
    for index in range(len(images)):
        check_cancel()
        with report.stage("detect"):
            found.append(detect_faces(images[index : index + 1], asked, threshold, template))
        on_progress(index + 1, len(images), None)
    faces = Faces.concatenate(found)
    report.faces_found = len(faces)
    report.dropped = faces.dropped
    if original_image is not None:
        with report.stage("compare", images.device):
            faces, unchanged = changed_faces(faces, images, original_image)
        note_skipped(report, unchanged)
    faces, skipped = select_faces(faces, select, order, min_face_px, mask)
    note_skipped(report, skipped)
    return faces


def _check_frames(images: torch.Tensor, name: str, check_cancel: CheckCancel) -> None:
    for index in range(len(images)):
        check_cancel()
        check_finite(images[index], f"{name}, frame {index}")


class _AskedBetweenPasses:
    """A detector that asks whether the user cancelled before every pass: a large frame takes hundreds of them."""

    def __init__(self, detector: Detector, check_cancel: CheckCancel) -> None:
        self._detector, self._check_cancel = detector, check_cancel
        self.name, self.provider = detector.name, detector.provider

    def __getattr__(self, name: str) -> Any:  # canvas or input_size, where the detector has them
        return getattr(self._detector, name)

    def detect(self, image: np.ndarray, threshold: float) -> Detections:
        self._check_cancel()
        return self._detector.detect(image, threshold)


def note_faces(report: Report, faces: Faces, fate: str) -> None:
    """One note a face into the report."""
    for index in range(len(faces)):
        box = faces.boxes[index].tolist()
        report.faces.append(
            FaceNote(
                frame=int(faces.frame_indices[index]),
                size=float(faces.sizes[index]),
                box=(box[0], box[1], box[2], box[3]),
                score=float(faces.scores[index]),
                fate=fate,
            )
        )


def note_skipped(report: Report, skipped: Iterable[Skipped]) -> None:
    """What a filter left out, with its reasons, into the report."""
    report.skipped += [FaceNote(entry.frame, entry.size, entry.box, None, entry.reason) for entry in skipped]

"""The paragraph: detect, crop, restore, blend, paste; a frame at a time, in memory that one frame decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from ..detectors import Detector
from ..faces import Faces, UserMask, check_mask_shape, crop_faces, paste_into
from ..faces.geometry.memory import new_pictures
from ..models import Restorer
from .callbacks import CheckCancel, FreeMemory, OnProgress, never_cancelled, no_progress
from .canvas import canvas_size, enlarge
from .checks import check_finite, check_fraction, check_images
from .detect_stage import find_faces, note_faces
from .fallback import Ladder, Rung
from .report import Report
from .restore_stage import check_blend, describe_model, restore_batch

OnCrops = Callable[[int, Faces, torch.Tensor], None]
"""``on_crops(frame, faces, crops)``: the crops (m,S,S,3) of a frame before they are restored."""

_DETECTING = 300  # of a thousand steps of progress: detection's share, so that the bar moves while nothing is restored
_STEPS = 1000
_SHOWS = 1.5  # a model this many times larger than the face in the result cannot show what it can


class RestoredImage(NamedTuple):
    """image (N,H',W',C) float32 in 0…1; mask (N,H',W'), 0 where a pixel was not restored; what happened."""

    image: torch.Tensor
    mask: torch.Tensor
    report: Report


def restore_image(
    image: torch.Tensor,
    restorer: Restorer,
    detector: Detector,
    *,
    threshold: float = 0.6,
    select: str = "all",
    order: str = "large-small",
    min_face_px: float = 16,
    template: str = "gpen",
    fidelity: float = 0.2,
    blend_mode: str = "linear",
    color_match: str = "none",
    feather: float = 0.1,
    mask_shape: str = "face",
    scale: float = 1.0,
    crop_size: int | str = "auto",
    mask: torch.Tensor | None = None,
    original_image: torch.Tensor | None = None,
    upscaled_image: torch.Tensor | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
    free_memory: FreeMemory | None = None,
    rungs: Sequence[Rung] = (),
    on_crops: OnCrops | None = None,
) -> RestoredImage:
    """Restore the faces of a picture or of a batch of frames.

    Args:
        image: (N,H,W,3 or 4) float in 0…1; never written into; alpha is kept.
        restorer: from :func:`load_gpen`.
        detector: from :func:`load_detector`.
        threshold: confidence that a detection must reach, 0…1.
        select: "all", or indexes as "0,2", counted per frame after all filters and in the chosen ``order``.
        min_face_px: smallest aligned square, in pixels of ``image``.
        template: alignment, "gpen" (the authors' own) or "ffhq".
        fidelity: 0 is the network's face, 1 the original's.
        blend_mode: "linear" cross-fades; "detail" keeps the original's low frequencies.
        color_match: "none", "mean_std" (in Lab) or "wavelet".
        feather: width of the soft edge as a fraction of the face, 0…0.5.
        mask_shape: "face", "ellipse" or "box".
        scale: 1…4; the canvas is enlarged so that the detail shows.
        crop_size: side of the crops in pixels; "auto" is the model's own input size.
        mask: (1 or N,h,w) in frame coordinates: chooses faces by their centre, and multiplies what is pasted.
        original_image: the pictures before a swap; only faces that differ are restored.
        upscaled_image: an enlarged version of ``image`` to paste onto.
        rungs: other ways to run the model where memory does not suffice for one face.
        on_crops: sees the crops of every frame before they are restored.

    Returns:
        image (N,H',W',C), mask (N,H',W'), report. Pixels whose mask is 0 are those of the canvas, bit for bit.

    Raises:
        TypeError, ValueError: an input that cannot be meant; the message says what was expected and what came.
        OutOfMemoryError: not even one face fits.
    """
    check_blend(fidelity, blend_mode, color_match)
    check_fraction(feather, "feather", 0.5)
    check_mask_shape(mask_shape)
    check_images(image, "image")
    report = Report(faces_restored=0, faces_pasted=0)
    size = canvas_size(image, scale, upscaled_image, report)
    faces = find_faces(
        image, detector, report,
        threshold=threshold, select=select, order=order, min_face_px=min_face_px, template=template,
        mask=mask, original_image=original_image, check_cancel=check_cancel,
        on_progress=lambda done, total, _: on_progress(_DETECTING * done // total, _STEPS, None),
    )  # fmt: skip

    canvas = image if upscaled_image is None else upscaled_image
    channels = max(image.shape[3], canvas.shape[3])  # an upscaler drops alpha, and this brings it back
    result = new_pictures(len(image), *size, channels, device=image.device)
    weights = image.new_zeros((len(image), *size), dtype=torch.float32)
    user_mask = UserMask.of(mask, len(image), size)
    side = restorer.config.in_size if crop_size == "auto" else int(crop_size)
    ladder = Ladder(restorer, report, free_memory, rungs, check_cancel)
    if len(faces):
        ladder.prepare(len(faces))
    done = 0
    for index in range(len(image)):
        check_cancel()
        with report.stage("canvas", result.device):
            result[index, :, :, : canvas.shape[3]] = enlarge(canvas[index].to(result.device), size)
            if channels > canvas.shape[3]:
                result[index, :, :, 3:] = enlarge(image[index, :, :, 3:], size)
        own = faces.of_frame(index)
        own_mask = None if user_mask is None or not len(own) else user_mask.frame(index)
        start = 0
        while start < len(own):
            check_cancel()
            batch = own[list(range(start, min(start + ladder.batch_size, len(own))))]
            start += len(batch)
            with report.stage("crop", image.device):
                crops = crop_faces(image, batch, side)
            if on_crops is not None:
                on_crops(index, batch, crops)
            restored = restore_batch(
                crops, ladder, report, fidelity=fidelity, blend_mode=blend_mode, color_match=color_match
            )
            check_finite(restored, f"restored face in frame {index}")
            with report.stage("paste", result.device):
                paste_into(
                    result[index], weights[index], batch.scaled_to(size), restored, feather, mask_shape,
                    user_mask=own_mask,
                )  # fmt: skip
            done += len(batch)
            on_progress(_DETECTING + (_STEPS - _DETECTING) * done // len(faces), _STEPS, restored[-1])
    on_progress(_STEPS, _STEPS, None)
    report.faces_restored = report.faces_pasted = done
    note_faces(report, faces, "restored")
    describe_model(report, ladder.restorer)
    _advise(report, faces, restorer, template, size[0] / image.shape[1], fidelity)
    return RestoredImage(result, weights, report)


def _advise(report: Report, faces: Faces, restorer: Restorer, template: str, enlarged: float, fidelity: float) -> None:
    """Say where the setting cannot show what was asked for."""
    if not len(faces):
        return
    if template != restorer.template:
        report.warn(
            f"the faces were aligned by template {template}, but this model is for {restorer.template}: "
            f"choose template {restorer.template}, unless that is meant"
        )
    largest = float(faces.sizes.max()) * enlarged
    model = restorer.config.out_size
    if model > largest * _SHOWS:
        report.warn(
            f"{model} px cannot show in a {largest:.0f} px face: enlarge the picture first "
            f"(scale {min(4.0, model / largest * enlarged):.1f}, or an enlarged picture as upscaled_image)"
        )
    if largest > model * _SHOWS:
        report.warn(
            f"a {largest:.0f} px face is larger than this model's {model} px: it comes out softer than it was; "
            "take a larger model, or leave such faces out with select"
        )
    if fidelity == 1:
        report.warn("fidelity 1 blends back the original face, resampled: nothing of the restoration shows")

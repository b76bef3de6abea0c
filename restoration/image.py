"""A batch of frames of one size through the pipeline."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..detectors import Detector
from ..faces.geometry.memory import new_pictures
from ..models import Restorer
from .callbacks import CancelWatch, CheckCancel, FreeMemory, OnProgress, never_cancelled, no_progress
from .checks import check_crop_size
from .door import Batch, open_batch
from .frames import FrameRun, OnCrops
from .options import BlendOptions, DetectOptions, PasteOptions
from .reporting.report import Report
from .running.fallback import FallbackStep
from .source import Item
from .stages.canvas import Size, canvas_size


class RestoredImage(NamedTuple):
    """image (N,H',W',C) float32 in 0…1; mask (N,H',W'), 0 where a pixel was not restored; what happened."""

    image: Tensor
    mask: Tensor
    report: Report


def restore_image(
    image: Tensor,
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
    mask: Tensor | None = None,
    original_image: Tensor | None = None,
    upscaled_image: Tensor | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
    free_memory: FreeMemory | None = None,
    fallbacks: Sequence[FallbackStep] = (),
    on_crops: OnCrops | None = None,
) -> RestoredImage:
    """Restore the faces of a picture or of a batch of frames; every mistake is found before the first frame.

    Args:
        image: (N,H,W,3 or 4) float in 0…1; never written into; alpha is kept.
        restorer: from :func:`load_gpen`.
        detector: from :func:`load_detector`.
        threshold, select, order, min_face_px, template: see :class:`DetectOptions`.
        fidelity, blend_mode, color_match: see :class:`BlendOptions`.
        feather, mask_shape, scale: see :class:`PasteOptions`.
        crop_size: side of the crops in pixels; "auto" is the model's own input size.
        mask: (1 or N,h,w) in frame coordinates: selects faces by their centre, and multiplies what is pasted.
        original_image: (M,H,W,C), the pictures before a swap; only faces that differ are restored. Unequal counts are
            matched in order by content.
        upscaled_image: (N,H',W',3 or 4), an enlarged version of ``image`` to paste onto; ``scale`` is then unused.
        fallbacks: other ways to run the model where memory does not suffice for one face.
        on_crops: sees every crop before it is restored.

    Returns:
        image (N,H',W',C), mask (N,H',W'), report. Pixels whose mask is 0 are those of the canvas, bit for bit.

    Raises:
        TypeError, ValueError: an input that cannot be meant; the message says what was expected and what came.
        OutOfMemoryError: not even one face fits.
    """
    detect = DetectOptions(threshold, select, order, min_face_px, template)
    blend = BlendOptions(fidelity, blend_mode, color_match)
    paste = PasteOptions(feather, mask_shape, scale)
    side = check_crop_size(crop_size) or restorer.config.in_size
    watch = CancelWatch(check_cancel)
    batch = open_batch(image, watch, mask=mask, original_image=original_image, upscaled_image=upscaled_image)

    upscaled = batch.upscaled
    size = canvas_size(_size(image), scale, None if upscaled is None else _size(upscaled))
    channels = max(image.shape[3], 0 if upscaled is None else upscaled.shape[3])
    result = new_pictures(len(image), *size, channels, device=image.device)
    weights = torch.empty((len(image), *size), dtype=torch.float32, device=image.device)
    run = FrameRun(
        _items(batch, size), restorer, detector, detect, blend, paste,
        side=side, total=len(image), check_cancel=watch, on_progress=on_progress, on_crops=on_crops,
        free_memory=free_memory, fallbacks=fallbacks, out=lambda index: (result[index], weights[index]),
    )  # fmt: skip
    if upscaled is not None and scale != 1:
        run.report.warn("scale_unused", scale=float(scale), width=size[1], height=size[0])
    for frame in run:
        if frame.error is not None:
            run.close()
            raise frame.error
    return RestoredImage(result, weights, run.report)


def _items(batch: Batch, size: Size) -> Generator[Item, None, None]:
    """The frames of a batch that was checked as a whole."""
    for index, frame in enumerate(batch.images):
        original = batch.original_of(index)
        yield Item(
            index,
            frame,
            mask=batch.mask_of(index),
            original=original,
            no_original=batch.no_original if original is None else None,
            upscaled=None if batch.upscaled is None else batch.upscaled[index],
            size=size,
        )


def _size(images: Tensor) -> Size:
    return int(images.shape[1]), int(images.shape[2])

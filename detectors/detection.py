"""Finding the faces of a batch of frames, whatever their size, place and turn."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from ..faces.collection import Faces
from ..faces.geometry.alignment import alignable
from ..faces.geometry.templates import template_points
from ..models import CheckCancel, never_cancelled
from .detector import Detector, Passes
from .merging import take
from .search_by_views import find_by_views
from .search_whole import find_whole
from .views import to_uint8

_ROWS = 512  # looked at for NaN at a time, so that an 8K frame needs no second copy

_logger = logging.getLogger(__name__)


def detect_faces(
    images: torch.Tensor,
    detector: Detector,
    threshold: float = 0.6,
    template: str = "gpen",
    check_cancel: CheckCancel = never_cancelled,
) -> Faces:
    """The faces of a batch of frames, found frame by frame.

    A detector with a ``canvas`` (SCRFD, YuNet) looks at the whole picture at several sizes, at overlapping tiles where
    it is larger, and then once more at every find, close up, turned as well where that look leaves a doubt. A face
    counts where the mean of both looks reaches the threshold; that mean is its score. Where nothing sure is found, the
    whole picture is looked at turned by 90, 180 and 270 degrees. Any other detector sees the whole picture, and where
    it finds nothing, a smaller one with room around it, in all four turns.

    Args:
        images: (N, H, W, 3 or 4) float in [0, 1], RGB, on any device; values outside are clipped; alpha is ignored.
        detector: from ``load_detector``, or anything that is a :class:`Detector`.
        threshold: 0 … 1, the least score.
        template: a name of ``TEMPLATES``, for the alignment.
        check_cancel: asked before every pass of the network; raises where the user cancelled.

    Returns:
        The faces, by frame, the surest first; ``dropped`` counts the degenerate detections that were left out (NaN,
        infinite, empty box, landmarks that coincide, lie on one line or are mirrored). Deterministic.

    Convention: photo coordinates, (x, y) in pixels, continuous, the origin at the image's top-left corner.

    Raises:
        ValueError: not such a batch, a threshold outside 0 … 1, an unknown template, or NaN pixels (which frame).
    """
    if images.ndim != 4 or images.shape[-1] not in (3, 4) or images.numel() == 0:
        raise ValueError(f"expected images (N, H, W, 3 or 4), at least one pixel, got {tuple(images.shape)}")
    if not images.dtype.is_floating_point:
        raise ValueError(f"expected images of floats in [0, 1], got {images.dtype}: divide 8-bit values by 255")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"expected a threshold in 0 … 1, got {threshold}")
    template_points(template)
    parts = []
    for index, image in enumerate(images):
        _refuse_nan(image, index)
        parts.append(detect_frame(image, detector, threshold, template, check_cancel))
    return Faces.concatenate(parts)


def detect_frame(
    frame: torch.Tensor,
    detector: Detector,
    threshold: float = 0.6,
    template: str = "gpen",
    check_cancel: CheckCancel = never_cancelled,
) -> Faces:
    """The faces of one frame, (H, W, 3 or 4) float, that was checked where it entered: see :func:`detect_faces`."""
    passes = Passes(detector, check_cancel)
    find = find_by_views if passes.canvas else find_whole
    found, dropped = find(to_uint8(frame), passes, threshold)
    fits = alignable(torch.from_numpy(found.landmarks), template_points(template)).numpy()
    dropped += int((~fits).sum())
    if dropped:
        _logger.info("%s: %d degenerate detections left out", detector.name, dropped)
    kept = take(found, fits)
    size = (frame.shape[0], frame.shape[1])
    frame_indices = torch.zeros(len(kept), dtype=torch.int64, device="cpu")
    faces = Faces.from_landmarks(
        kept.landmarks, frame_indices, size, template, boxes=kept.boxes, scores=kept.scores, frame_count=1
    )
    return replace(faces, dropped=dropped, detector=detector.name)


def _refuse_nan(frame: torch.Tensor, index: int) -> None:
    for top in range(0, len(frame), _ROWS):
        rows = frame[top : top + _ROWS, :, :3]
        if bool(torch.isnan(rows).any()):
            raise ValueError(
                f"frame {index} has NaN pixels (rows {top} to {top + len(rows) - 1}): "
                "the step that made this image failed; give a picture with values in [0, 1]"
            )

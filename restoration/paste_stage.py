"""Third stage: restored faces back into their frames."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..faces import Faces, UserMask, check_mask_shape, paste_into
from ..faces.geometry.memory import copied_pictures
from .callbacks import CheckCancel, OnProgress, never_cancelled, no_progress
from .checks import check_finite, check_fraction, check_images
from .detect_stage import note_faces
from .report import Report


class Pasted(NamedTuple):
    """image (N,H,W,C); the weights really used (N,H,W), 0 where a pixel is untouched; what happened."""

    image: torch.Tensor
    mask: torch.Tensor
    report: Report


def paste(
    image: torch.Tensor,
    faces: Faces,
    restored: torch.Tensor,
    *,
    feather: float = 0.1,
    mask_shape: str = "face",
    mask: torch.Tensor | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
) -> Pasted:
    """Paste every face into its frame; with no faces the image comes back as it is, whatever ``restored`` holds.

    Args:
        image: (N,H,W,3 or 4) float in 0…1, the picture the faces were found in or an enlargement of it.
        restored: (M,S,S,3 or 4), one entry a face, in the order of ``faces``; alpha is ignored.
        feather: width of the soft edge as a fraction of the face, 0…0.5.
        mask: (1 or N,h,w); multiplies the faces' own masks.

    Raises:
        TypeError, ValueError: counts or sizes that do not fit, with what was expected and what came.
    """
    check_images(image, "image")
    if not isinstance(faces, Faces):
        raise TypeError(f"faces: expected what Detect Faces (GPEN) gives, got {type(faces).__name__}")
    check_fraction(feather, "feather", 0.5)
    report = Report(frames=len(image), faces_pasted=len(faces))
    faces = faces.matched_to(image)
    check_mask_shape(mask_shape)
    if len(faces):
        check_images(restored, "restored")
        if len(restored) != len(faces):
            raise ValueError(
                f"restored: expected {len(faces)} pictures, one a face in the order of the crops, got {len(restored)}"
            )
        for index in range(len(restored)):
            check_finite(restored[index], f"restored, face {index}")
    user_mask = UserMask.of(mask, len(image), faces.image_size) if len(faces) else None
    pasted = copied_pictures(image) if len(faces) else image.detach().to(torch.float32).contiguous()
    weights = torch.zeros(image.shape[:3], device=image.device)
    for index in range(len(image)):
        check_cancel()
        check_finite(image[index], f"image, frame {index}")
        own = (faces.frame_indices == index).nonzero().flatten()
        if len(own):
            with report.stage("paste", image.device):
                paste_into(
                    pasted[index], weights[index], faces[own], restored[own.to(restored.device)], feather, mask_shape,
                    user_mask=None if user_mask is None else user_mask.frame(index),
                )  # fmt: skip
        on_progress(index + 1, len(image), None)
    note_faces(report, faces, "restored")
    return Pasted(pasted, weights, report)

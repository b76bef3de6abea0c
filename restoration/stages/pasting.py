"""Third stage on its own: restored faces back into their frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...faces import Faces
from ...faces.geometry.memory import new_pictures
from ...faces.selection import frame_mask
from ..callbacks import CheckCancel, OnProgress, never_cancelled, no_progress
from ..checks import check_images, refuse_non_finite
from ..door import Batch
from ..options import PasteOptions
from ..reporting.report import Report
from .flight import Flight


class Pasted(NamedTuple):
    """image (N,H,W,C); the weights really used (N,H,W), 0 where a pixel is untouched; what happened."""

    image: Tensor
    mask: Tensor
    report: Report


def paste(
    image: Tensor,
    faces: Faces,
    restored: Tensor,
    *,
    feather: float = 0.1,
    mask_shape: str = "face",
    mask: Tensor | None = None,
    on_progress: OnProgress = no_progress,
    check_cancel: CheckCancel = never_cancelled,
) -> Pasted:
    """Paste every face into its frame; with no faces the image comes back as it is, whatever ``restored`` holds.

    Args:
        image: (N,H,W,3 or 4) float in 0…1, the picture the faces were found in or an enlargement of it.
        restored: (M,S,S,3 or 4), one entry per face, in the order of ``faces``; alpha is ignored.
        feather: width of the soft edge as a fraction of the face, 0…0.5.
        mask: (1 or N,h,w); multiplies the faces' own masks.

    Raises:
        TypeError, ValueError: counts or sizes that do not fit, with what was expected and what came.
    """
    options = PasteOptions(feather, mask_shape)
    check_images(image, "image")
    if not isinstance(faces, Faces):
        raise TypeError(f"faces: expected what Detect Faces (GPEN) gives, got {type(faces).__name__}")
    faces = faces.matched_to(image)
    batch = Batch(image, frame_mask(mask, len(image)))
    if len(faces):
        _check_restored(restored, faces)
    for index in range(len(image)):
        check_cancel()
        refuse_non_finite(image[index], f"image, frame {index}")
    report = Report(frames=len(image), faces_pasted=len(faces))
    pasted = new_pictures(*image.shape, device=image.device)
    weights = torch.empty(image.shape[:3], dtype=torch.float32, device=image.device)
    for index, frame in enumerate(image):
        check_cancel()
        own = (faces.frame_indices == index).nonzero().flatten()
        flight = Flight(
            index, frame, faces[own], report,
            mask=batch.mask_of(index), upscaled=None, size=faces.image_size, paste=options,
            out=lambda index: (pasted[index], weights[index]),
        )  # fmt: skip
        for k, which in enumerate(own.tolist()):
            flight.begin(image.device)
            flight.paste(k, restored[which])
        flight.finish()
        flight.result()
        on_progress(index + 1, len(image), None)
    report.note_faces(faces, "restored")
    return Pasted(pasted, weights, report)


def _check_restored(restored: Tensor, faces: Faces) -> None:
    check_images(restored, "restored")
    if restored.shape[1] != restored.shape[2]:
        raise ValueError(f"restored: expected square faces (M, S, S, 3), got {tuple(restored.shape)}")
    if len(restored) != len(faces):
        raise ValueError(
            f"restored: expected {len(faces)} pictures, one per face in the order of the crops, got {len(restored)}"
        )
    for index in range(len(restored)):
        refuse_non_finite(restored[index], f"restored, face {index}")

"""Aligned crops of the faces of a batch of frames."""

from __future__ import annotations

import torch
from torch import Tensor

from ..collection import Faces
from .full_precision import full_precision
from .memory import new_pictures
from .warp import warp

CROP_SIZES = (256, 512, 1024, 2048)


def crop_size_for(faces: Faces) -> int:
    """The smallest size of :data:`CROP_SIZES` that is not below the largest face, 2048 at most."""
    largest = float(faces.sizes.max()) if len(faces) else 0.0
    return next((size for size in CROP_SIZES if size >= largest), CROP_SIZES[-1])


@torch.no_grad()
def crop_faces(images: Tensor, faces: Faces, size: int) -> Tensor:
    """Crop each face, aligned to its template.

    Args:
        images: (N, H, W, C) float in 0 … 1, C 3 or 4 (alpha is ignored), any strides and float dtype; the frames in
            which the faces were detected, or the same frames at another size. Never written to.
        faces: M faces.
        size: side of the crops in pixels.

    Returns:
        (M, size, size, 3) float32 in 0 … 1 on the images' device. Downscaling is antialiased, upscaling bicubic; the
        photo is mirrored at its border.

    Raises:
        ValueError: images that do not belong to the faces, a size below 1, or NaN or infinity in a crop.

    Convention: crop pixel (row i, column j) shows the photo at A · (u, v, 1), u = (j + 0.5) / size,
    v = (i + 0.5) / size, A the face's matrix; see :class:`Faces`.
    """
    if int(size) != size or size < 1:
        raise ValueError(f"size: expected a whole number of pixels, at least 1, got {size}")
    size = int(size)
    faces = faces.matched_to(images)
    out = new_pictures(len(faces), size, size, 3, device=images.device)
    for k, frame in enumerate(faces.frame_indices.tolist()):
        crop = crop_face(images[frame], faces.matrices[k], size)
        if not bool(torch.isfinite(crop.sum())):
            raise ValueError(
                f"images: frame {frame} holds values that are not finite (NaN or infinity) around face {k}: "
                "repair the picture, or the node that made it"
            )
        out[k] = crop
    return out


@torch.no_grad()
@full_precision
def crop_face(frame: Tensor, matrix: Tensor, size: int) -> Tensor:
    """Crop one face of one frame: (size, size, 3) float32, see :func:`crop_faces`; trusts the values.

    Args:
        frame: (H, W, C), C >= 3.
        matrix: (2, 3) on the CPU, unit square -> photo.
    """
    rows = [[a / size, b / size, c] for a, b, c in matrix.tolist()]
    return warp(frame, rows, size, size).clamp_(0, 1).permute(1, 2, 0)

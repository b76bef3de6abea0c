"""Find the faces that a swap has changed; all others are skipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..collection import Faces
from ..skipped import Skipped, skip_faces
from .frame_matching import match_frames

__all__ = ["NoPartner", "changed_faces", "changed_in_frame", "match_frames", "no_partner", "other_sized"]

NoPartner = tuple[str, dict[str, Any]]  # kind and values of a :class:`Skipped`

ROUNDING = 1.5 / 255  # 8 bits change each value by up to 1/255; the margin up to halfway to the next step is for fp16
CHANGED_SHARE = 0.05  # of the points inside the face; a swap changes nearly all, a neighbour's soft border a few
INNER_FACE = (0.32, 0.40, 0.68, 0.78)  # u0, v0, u1, v1: brows to lower lip in both templates, no hair, no neighbour
WHOLE_SQUARE = (0.0, 0.0, 1.0, 1.0)
GRID = 64  # points per side that are compared


def changed_faces(
    faces: Faces,
    images: Tensor,
    originals: Tensor | None,
    partners: Sequence[int | None] | None = None,
) -> tuple[Faces, tuple[Skipped, ...]]:
    """Select the faces that differ between a picture and the picture before the swap.

    A face has changed if more than ``CHANGED_SHARE`` of 4096 points inside it differ by more than ``ROUNDING`` in any
    of the first three channels. The points are sampled in the face's aligned square.

    Args:
        images: (N, H, W, C), the pictures in which ``faces`` were detected, [0, 1], any float dtype and device.
        originals: (M, H', W', C'), the pictures before the swap; None keeps every face.
        partners: the result of ``match_frames(images, originals)``, if the caller has it already.

    Returns:
        The changed faces in their order, and a record for each other face: unchanged, outside the picture, or in a
        frame without an original (such a frame is recorded even if it has no face).

    Raises:
        ValueError: images or originals are not (N, H, W, C), or ``faces`` are not those of ``images``.
    """
    if originals is None:
        return faces, ()
    _check(faces, images, originals)
    if partners is None:
        partners = match_frames(images, originals)
    reason = no_partner(images, originals)
    kept, skipped = [], []
    for frame, partner in enumerate(partners):
        own = (faces.frame_indices == frame).nonzero().flatten()
        original = None if partner is None else originals[partner]
        stays, left = changed_in_frame(faces[own], images[frame], original, frame, reason)
        kept += own[stays].tolist()
        skipped += left
    return faces[torch.tensor(sorted(kept), dtype=torch.int64, device="cpu")], tuple(skipped)


def changed_in_frame(
    faces: Faces, frame: Tensor, original: Tensor | None, index: int, reason: NoPartner
) -> tuple[list[int], list[Skipped]]:
    """Find the faces of one frame that a swap has changed.

    Args:
        faces: the faces of this frame.
        frame: (H, W, C) in [0, 1].
        original: likewise; None if the frame has no original: then no face is selected.
        index: index of the frame in the records.
        reason: kind and values of the record for a frame without an original.

    Returns:
        Indexes of the changed faces in ``faces``, and a record per other face, or one record about a frame that has
        neither an original nor a face.
    """
    if original is None:
        kind, values = reason
        whole = [Skipped(kind, index, values=values)]
        return [], skip_faces(faces, range(len(faces)), kind, **values) if len(faces) else whole
    kept: list[int] = []
    skipped: list[Skipped] = []
    for k in range(len(faces)):
        share = _changed_share(frame, original, faces.matrices[k])
        if share is None:
            skipped += skip_faces(faces, [k], "outside_picture")
        elif share > CHANGED_SHARE:
            kept.append(k)
        else:
            skipped += skip_faces(faces, [k], "unchanged")
    return kept, skipped


def _check(faces: Faces, images: Tensor, originals: Tensor) -> None:
    for name, batch in (("image", images), ("original_image", originals)):
        if batch.ndim != 4:
            shape = tuple(batch.shape)
            raise ValueError(f"{name} must be an IMAGE of the shape (frames, height, width, channels), got {shape}")
    got = (len(images), *images.shape[1:3])
    expected = (faces.frame_count, *faces.image_size)
    if got != expected:
        raise ValueError(
            f"the faces were found in {expected[0]} frames of {expected[2]}×{expected[1]}, but image has {got[0]} of "
            f"{got[2]}×{got[1]}; give the image in which they were found"
        )


def other_sized(image: tuple[int, ...], original: tuple[int, ...]) -> NoPartner | None:
    """The reason why a frame of one (height, width) has no original of another; None where the sizes are equal."""
    if image == original:
        return None
    return "no_original_size", {
        "original_size": f"{original[1]}×{original[0]}",
        "image_size": f"{image[1]}×{image[0]}",
    }


def no_partner(images: Tensor, originals: Tensor) -> NoPartner:
    """The reason why frames of ``images`` have no original: kind and values of the record."""
    other_size = other_sized(tuple(images.shape[1:3]), tuple(originals.shape[1:3]))
    return other_size or ("no_original_count", {"originals": len(originals), "images": len(images)})


def _changed_share(image: Tensor, original: Tensor, matrix: Tensor) -> float | None:
    """Share of a face's points that differ between (H, W, C) and (H, W, C'); None if no point is in the picture.

    Convention: ``matrix`` (2, 3) maps the unit square to photo coordinates, pixel centres at (j + 0.5, i + 0.5).
    """
    height, width = image.shape[:2]
    for region in (INNER_FACE, WHOLE_SQUARE):  # the whole square only if the inner face is outside the picture
        columns, rows = _pixels(matrix, region)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        if bool(inside.any()):
            break
    else:
        return None
    columns, rows = columns[inside].long(), rows[inside].long()
    channels = min(3, image.shape[2], original.shape[2])
    after, before = (
        frame[rows.to(frame.device), columns.to(frame.device), :channels].float().cpu() for frame in (image, original)
    )
    difference = (after - before).abs().amax(dim=1)
    same = difference <= ROUNDING  # NaN counts as different
    return float((~same).float().mean())


def _pixels(matrix: Tensor, region: tuple[float, float, float, float]) -> tuple[Tensor, Tensor]:
    """Columns and rows, (GRID²,) integral float64, of a regular grid over a part of a face's unit square."""
    u0, v0, u1, v1 = region
    middles = (torch.arange(GRID, dtype=torch.float64, device="cpu") + 0.5) / GRID
    v, u = torch.meshgrid(v0 + middles * (v1 - v0), u0 + middles * (u1 - u0), indexing="ij")
    points = torch.stack((u.flatten(), v.flatten()), dim=1) @ matrix[:, :2].mT + matrix[:, 2]
    return points[:, 0].floor(), points[:, 1].floor()

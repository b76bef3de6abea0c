"""Paste restored faces into their frames: inside each face's rectangle only, with a soft edge."""

from __future__ import annotations

import torch
from torch import Tensor

from ..collection import Faces
from ..geometry.full_precision import full_precision
from ..geometry.memory import copied_pictures
from ..geometry.warp import warp
from .masks import FaceMask, UserMask, add_weights, check_mask_shape


def paste_faces(
    images: Tensor,
    faces: Faces,
    restored: Tensor,
    feather: float = 0.1,
    mask_shape: str = "face",
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Paste restored faces into copies of their frames.

    Args:
        images: (N, H, W, C) float in 0 … 1, C 3 or 4, any strides and float dtype: the frames in which the faces were
            detected, or the same frames at another size. Never written to.
        faces: M faces.
        restored: (M, S, S, 3) float in 0 … 1, the aligned faces at any size S (a fourth channel is ignored); not
            checked if there are no faces.
        feather, mask_shape: see :meth:`FaceMask.of`.
        mask: (1 or N, h, w) in 0 … 1, covering the frame edge to edge; multiplies the masks of the faces.

    Returns:
        The images (N, H, W, C) float32 on their device, alpha unchanged bit for bit, and the weights (N, H, W) float32
        that were used. Where a weight is 0 the pixel equals the input bit for bit. Without faces, a float32 input is
        returned itself.

    Raises:
        ValueError: images that do not belong to the faces, another number of restored faces, a mask of another number
            of frames, an unknown shape, a feather outside 0 … 0.5, or NaN or infinity in a visible part of a face.

    Convention: see :class:`Faces`; the restored pixel (row i, column j) is pasted at A · (u, v, 1),
    u = (j + 0.5) / S, v = (i + 0.5) / S.
    """
    faces = faces.matched_to(images)
    weights = torch.zeros(images.shape[:3], device=images.device)
    if not len(faces):
        return images.detach().to(torch.float32), weights
    _check(faces, restored, feather, mask_shape)
    user_mask = UserMask.of(mask, images.shape[0], faces.image_size)
    result = copied_pictures(images)
    for frame in faces.frame_indices.unique().tolist():
        own = (faces.frame_indices == frame).nonzero().flatten()
        own_mask = None if user_mask is None else user_mask.frame(frame)
        _paste(result[frame], weights[frame], faces, restored, own.tolist(), feather, mask_shape, own_mask)
    return result, weights


def paste_into(
    frame: Tensor,
    frame_mask: Tensor,
    faces: Faces,
    restored: Tensor,
    feather: float = 0.1,
    mask_shape: str = "face",
    user_mask: Tensor | None = None,
) -> None:
    """Paste the restored faces of one frame into it, in place; allocates nothing of the frame's size.

    Args:
        frame: (H, W, C) float32 in 0 … 1, C 3 or 4; modified where the faces are.
        frame_mask: (H, W) float32, the weights used so far (0 for a new frame); added to.
        faces: the m faces of this frame; their ``frame_indices`` are ignored.
        restored: (m, S, S, 3) float.
        feather, mask_shape: see :meth:`FaceMask.of`.
        user_mask: (h, w) or (1, h, w) in 0 … 1, covering the frame edge to edge; multiplies the masks of the faces. An
            all-zero mask is taken literally, also at 64×64.

    Raises:
        ValueError: see :func:`paste_faces`. A face with NaN or infinity is found when the faces before it are already
            pasted.
    """
    if frame.ndim != 3 or frame.shape[-1] not in (3, 4) or frame.dtype != torch.float32:
        raise ValueError(f"frame: expected (H, W, 3 or 4) in float32, got {tuple(frame.shape)} in {frame.dtype}")
    if frame_mask.shape != frame.shape[:2] or frame_mask.dtype != torch.float32:
        raise ValueError(
            f"frame_mask: expected {tuple(frame.shape[:2])} in float32, got {tuple(frame_mask.shape)} "
            f"in {frame_mask.dtype}"
        )
    faces = faces.scaled_to((frame.shape[0], frame.shape[1]))
    if not len(faces):
        return
    _check(faces, restored, feather, mask_shape)
    given = UserMask.of(user_mask, 1, faces.image_size, empty_is_absent=False)
    own_mask = None if given is None else given.frame(0)
    _paste(frame, frame_mask, faces, restored, list(range(len(faces))), feather, mask_shape, own_mask)


def _check(faces: Faces, restored: Tensor, feather: float, mask_shape: str) -> None:
    check_mask_shape(mask_shape)
    if not 0 <= feather <= 0.5:
        raise ValueError(f"feather must be a fraction of the face in 0 … 0.5, got {feather}")
    shape = tuple(restored.shape)
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] not in (3, 4) or 0 in shape[1:]:
        raise ValueError(f"restored: expected square faces (M, S, S, 3), got {shape}")
    if shape[0] != len(faces):
        raise ValueError(
            f"restored: expected {len(faces)} picture(s), one per face, got {shape[0]}: "
            "give the whole restored batch of these faces, in its order"
        )


def _not_finite(k: int) -> ValueError:
    return ValueError(
        f"restored: face {k} holds values that are not finite (NaN or infinity): restore it again in a wider precision"
    )


def _paste(
    frame: Tensor,
    frame_mask: Tensor,
    faces: Faces,
    restored: Tensor,
    own: list[int],
    feather: float,
    mask_shape: str,
    user_mask: Tensor | None,
) -> None:
    """Paste the faces ``own`` one over the other, checking each for NaN and infinity."""
    for k in own:
        lay_face(frame, frame_mask, faces, k, restored[k], feather, mask_shape, user_mask, trusted=False)


@torch.no_grad()
@full_precision
def lay_face(
    frame: Tensor,
    frame_mask: Tensor,
    faces: Faces,
    k: int,
    restored: Tensor,
    feather: float,
    mask_shape: str,
    user_mask: Tensor | None,
    *,
    trusted: bool = True,
) -> None:
    """Paste one restored face into its frame, in place.

    Args:
        frame, frame_mask: see :func:`paste_into`; ``faces`` are in the frame's coordinates.
        k: index of the face.
        restored: (S, S, C) float, C >= 3.
        user_mask: (H, W) float32, or None.
        trusted: the values are known to be finite; otherwise they are checked, which synchronises with the device.

    Raises:
        ValueError: NaN or infinity in the visible part, unless ``trusted``.
    """
    shape = FaceMask.of(faces, k, feather, mask_shape)
    if shape.empty:
        return
    side = restored.shape[0]
    x0, y0, x1, y1 = shape.box
    weights = shape.weights(frame.device)
    if user_mask is not None:
        weights *= user_mask[y0:y1, x0:x1].to(frame.device)
    to_crop = [[a * side, b * side, (a * x0 + b * y0 + c) * side] for a, b, c in shape.back.tolist()]
    u0, v0, u1, v1 = shape.extent
    extent = (u0 * side, v0 * side, u1 * side, v1 * side)
    face = warp(restored.to(frame.device), to_crop, y1 - y0, x1 - x0, extent)
    if not trusted and not bool(torch.isfinite(face.sum())):
        raise _not_finite(k)
    below = frame[y0:y1, x0:x1, :3].permute(2, 0, 1)
    planes = below.contiguous()
    # torch.where, not only a product with 0: an infinite pixel outside the shape stays unchanged
    below.copy_(torch.where(weights > 0, torch.lerp(planes, face.clamp_(0, 1), weights), planes))
    add_weights(frame_mask[y0:y1, x0:x1], weights)

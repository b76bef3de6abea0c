"""How much of GPEN's face and how much of the original's: ``fidelity`` and ``blend_mode``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..geometry.full_precision import full_precision
from .smoothing import gaussian_blur, resize_square

BLEND_MODES = ("linear", "detail")

COARSEST_SIGMA = 0.125  # of the crop's side, over half the distance of the eyes: light and colour, no features


def check_face_batch(faces: Tensor, name: str) -> None:
    """Refuse what is no batch of square colour pictures, (N, S, S, 3 or 4); ``name`` is for the message."""
    if faces.ndim != 4 or faces.shape[1] != faces.shape[2] or faces.shape[3] not in (3, 4):
        raise ValueError(
            f"{name} must be square faces of the shape (N, S, S, 3), got {tuple(faces.shape)}; "
            "a node in between may change their size, but not their aspect"
        )
    if not faces.is_floating_point():
        raise ValueError(f"{name} must be floating point in [0, 1], got {faces.dtype}; divide 8-bit values by 255")


def check_same_count(original: Tensor, restored: Tensor) -> None:
    """Refuse two batches that do not have one face each for the other."""
    if len(original) != len(restored):
        raise ValueError(
            f"every face needs both its pictures: expected {len(original)} restored faces for as many originals, got "
            f"{len(restored)}; hand on the crops that were restored, all of them and in their order"
        )


def check_finite_faces(faces: Tensor, name: str) -> None:
    """Raises ValueError with the first face of a batch that holds NaN or infinity."""
    for index in range(len(faces)):
        # a sum is not finite as soon as one value is not, and needs no mask of the picture's size
        if not math.isfinite(float(faces[index, :, :, :3].sum(dtype=torch.float32))):
            raise ValueError(
                f"face {index} of {name} holds NaN or infinity; a network that overflowed in fp16 gives that: use "
                "precision fp32 or bf16"
            )


def detail_sigma(fidelity: float) -> float:
    """The cut-off of ``detail``: a Gaussian's sigma as a fraction of the crop's side; 0 keeps every frequency.

    A square, because frequencies matter by their ratios: 0 -> 1/8, 0.2 -> 1/12, 0.5 -> 1/32, 0.8 -> 1/200, 1 -> 0.
    """
    return COARSEST_SIGMA * (1 - fidelity) ** 2


def blend_face(original: Tensor, restored: Tensor, fidelity: float, blend_mode: str) -> Tensor:
    """One face, see ``blend_faces``; both (S, S, 3) float32, neither is written to."""
    if fidelity == 1:
        return original
    if blend_mode == "linear":
        return torch.lerp(restored, original, fidelity)
    # high(restored) + low(original), with one low-pass instead of two
    return restored + gaussian_blur(original - restored, detail_sigma(fidelity))


def blend_faces(original: Tensor, restored: Tensor, fidelity: float = 0.2, blend_mode: str = "linear") -> Tensor:
    """Mix restored faces with what the photo showed, face by face in bounded memory.

    original: (N, s, s, 3), the crops before restoration, [0, 1], any float type; a fourth channel is left out
    restored: (N, S, S, 3), GPEN's faces, [0, 1], S need not be s; the result lives on its device
    fidelity: 0 … 1. ``linear``: (1 - fidelity) * restored + fidelity * original. ``detail``: frequencies below a
        cut-off from the original (light, colour, likeness), above it from GPEN; fidelity moves the cut-off from the
        coarsest band alone at 0 to everything at 1. The cut-off is a fraction of the face, whatever the resolution.
    blend_mode: one of ``BLEND_MODES``

    Returns (N, S, S, 3) float32 in [0, 1], never a view of an input. ``linear`` at 0 is ``restored`` bit for bit; at 1
    either mode is the original, resized by an antialiased bicubic.
    Raises ValueError for an unknown mode, a fidelity that is not in [0, 1], unequal counts, wrong shapes, NaN pixels.
    """
    if blend_mode not in BLEND_MODES:
        raise ValueError(f"blend_mode must be one of {', '.join(BLEND_MODES)}; got {blend_mode!r}")
    if not 0 <= fidelity <= 1:  # NaN fails too
        raise ValueError(f"fidelity must be a number from 0 (GPEN's face) to 1 (the original's), got {fidelity}")
    check_face_batch(original, "the original crops")
    check_face_batch(restored, "the restored faces")
    check_same_count(original, restored)
    check_finite_faces(restored, "the restored faces")
    if fidelity > 0 or blend_mode != "linear":  # else the original has no part in it
        check_finite_faces(original, "the original crops")
    return blend_batch(original, restored, float(fidelity), blend_mode)


@full_precision
def blend_batch(original: Tensor, restored: Tensor, fidelity: float, blend_mode: str) -> Tensor:
    """:func:`blend_faces` behind its checks: trusts the values and asks the device nothing."""
    size = restored.shape[1]
    blended = torch.empty((*restored.shape[:3], 3), dtype=torch.float32, device=restored.device)
    for index in range(len(restored)):
        after = restored[index, :, :, :3].float()
        if fidelity > 0 or blend_mode != "linear":
            before = original[index, :, :, :3].float().to(restored.device)
            before = resize_square(before, size).clamp(0, 1)  # bicubic overshoots
            after = blend_face(before, after, fidelity, blend_mode)
        blended[index] = after.clamp(0, 1)
    return blended

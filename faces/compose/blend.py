"""Blend restored faces with the original ones: ``fidelity`` and ``blend_mode``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..geometry.full_precision import full_precision
from .smoothing import gaussian_blur, resize_square

BLEND_MODES = ("linear", "detail")

# fraction of the crop's side, over half the distance between the eyes: light and colour, no features
COARSEST_SIGMA = 0.125


def check_face_batch(faces: Tensor, name: str) -> None:
    """Check for a batch of square colour pictures, (N, S, S, 3 or 4) floating point; ``name`` is for the message.

    Raises:
        ValueError: another shape or dtype.
    """
    if faces.ndim != 4 or faces.shape[1] != faces.shape[2] or faces.shape[3] not in (3, 4):
        raise ValueError(
            f"{name} must be square faces of the shape (N, S, S, 3), got {tuple(faces.shape)}; "
            "a node in between may change their size, but not their aspect ratio"
        )
    if not faces.is_floating_point():
        raise ValueError(f"{name} must be floating point in [0, 1], got {faces.dtype}; divide 8-bit values by 255")


def check_same_count(original: Tensor, restored: Tensor) -> None:
    """Check that both batches have the same number of faces.

    Raises:
        ValueError: they have not.
    """
    if len(original) != len(restored):
        raise ValueError(
            f"expected {len(original)} restored faces for as many originals, got {len(restored)}; "
            "pass all crops that were restored, in their order"
        )


def check_finite_faces(faces: Tensor, name: str) -> None:
    """Check a batch for NaN and infinity.

    Raises:
        ValueError: names the first face that holds one.
    """
    for index in range(len(faces)):
        # a sum is not finite if one value is not, and allocates no mask of the picture's size
        if not math.isfinite(float(faces[index, :, :, :3].sum(dtype=torch.float32))):
            raise ValueError(
                f"face {index} of {name} holds NaN or infinity, as after an overflow in fp16: "
                "use precision fp32 or bf16"
            )


def detail_sigma(fidelity: float) -> float:
    """Cut-off of ``detail``: sigma of a Gaussian as a fraction of the crop's side; 0 keeps every frequency.

    Quadratic, because ratios of frequencies matter: 0 -> 1/8, 0.2 -> 1/12, 0.5 -> 1/32, 0.8 -> 1/200, 1 -> 0.
    """
    return COARSEST_SIGMA * (1 - fidelity) ** 2


def blend_face(original: Tensor, restored: Tensor, fidelity: float, blend_mode: str) -> Tensor:
    """Blend one face, see :func:`blend_faces`; both (S, S, 3) float32, neither is written to."""
    if fidelity == 1:
        return original
    if blend_mode == "linear":
        return torch.lerp(restored, original, fidelity)
    # high(restored) + low(original), with one low-pass filter instead of two
    return restored + gaussian_blur(original - restored, detail_sigma(fidelity))


def blend_faces(original: Tensor, restored: Tensor, fidelity: float = 0.2, blend_mode: str = "linear") -> Tensor:
    """Blend restored faces with the original crops, per face and in bounded memory.

    Args:
        original: (N, s, s, 3), the crops before restoration, [0, 1], any float dtype; a fourth channel is ignored.
        restored: (N, S, S, 3), GPEN's faces, [0, 1]; S may differ from s. The result is on its device.
        fidelity: 0 … 1. ``linear``: (1 - fidelity) * restored + fidelity * original. ``detail``: frequencies below a
            cut-off from the original (light, colour, likeness), above it from GPEN; fidelity moves the cut-off from
            only the coarsest band at 0 to everything at 1. The cut-off is a fraction of the face at any resolution.
        blend_mode: one of :data:`BLEND_MODES`.

    Returns:
        (N, S, S, 3) float32 in [0, 1], never a view of an input. ``linear`` at 0 is ``restored`` bit for bit; at 1
        both modes give the original, resized by an antialiased bicubic.

    Raises:
        ValueError: an unknown mode, a fidelity outside [0, 1], unequal counts, wrong shapes, NaN pixels.
    """
    if blend_mode not in BLEND_MODES:
        raise ValueError(f"blend_mode must be one of {', '.join(BLEND_MODES)}; got {blend_mode!r}")
    if not 0 <= fidelity <= 1:  # NaN fails too
        raise ValueError(f"fidelity must be a number from 0 (GPEN's face) to 1 (the original's), got {fidelity}")
    check_face_batch(original, "the original crops")
    check_face_batch(restored, "the restored faces")
    check_same_count(original, restored)
    check_finite_faces(restored, "the restored faces")
    if fidelity > 0 or blend_mode != "linear":  # else the original is not used
        check_finite_faces(original, "the original crops")
    return blend_batch(original, restored, float(fidelity), blend_mode)


@full_precision
def blend_batch(original: Tensor, restored: Tensor, fidelity: float, blend_mode: str) -> Tensor:
    """:func:`blend_faces` without its checks: trusts the values and reads nothing back from the device."""
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

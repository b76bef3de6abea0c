"""PyTorch's antialiased resizing, on devices that do not have it, too."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def resize_planes(planes: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(N, C, h, w) float -> (N, C, *size) on the same device, antialiased where it shrinks; not clamped.

    Args:
        mode: "bilinear" or "bicubic"; the latter may overshoot by a few percent.

    Convention: pixel centres at (j + 0.5, i + 0.5), so that the corners of both pictures coincide.
    """
    home = planes.device
    if home.type == "mps":  # PyTorch has no antialiased filters there, or only newer versions have
        planes = planes.cpu()
    return functional.interpolate(planes, size=size, mode=mode, antialias=True, align_corners=False).to(home)

"""PyTorch's antialiased resizing, also for devices that lack it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def resize_planes(planes: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize (N, C, h, w) float to (N, C, *size) on the same device, antialiased; not clamped.

    Args:
        mode: "bilinear" or "bicubic"; the latter may overshoot by a few percent.

    Convention: pixel centres at (j + 0.5, i + 0.5), so that the corners of both pictures coincide.
    """
    home = planes.device
    if home.type == "mps":  # antialiasing is missing there, at least in older versions of PyTorch
        planes = planes.cpu()
    return functional.interpolate(planes, size=size, mode=mode, antialias=True, align_corners=False).to(home)

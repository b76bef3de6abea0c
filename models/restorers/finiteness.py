"""NaN and infinity in crops and in restored faces: one value per batch is read back from the device."""

from __future__ import annotations

import torch


def both_finite(crops: torch.Tensor, faces: torch.Tensor) -> bool:
    """Whether all values of both tensors are finite; False also where a sum of finite values overflows float32.

    Sums instead of ``isfinite``: they need no memory for a mask, and NaN and infinity never cancel in them. This is
    the only value of a batch that the host waits for.
    """
    sums = [tensor.sum(dtype=torch.float32) for tensor in (crops, faces)]
    device = next((s.device for s in sums if s.device.type != "cpu"), sums[0].device)
    a, b = (s.to(device, non_blocking=True) for s in sums)  # only ever up to the accelerator, which needs no waiting
    return bool(torch.isfinite(a + b))


def check_crop_values(crops: torch.Tensor, first: int, count: int) -> None:
    """Raise if any of ``crops`` (N,H,W,3), which are number ``first`` and following of ``count``, is not finite.

    Raises:
        ValueError: a crop has NaN or infinite pixels.
    """
    for index, finite in enumerate(torch.isfinite(crops).flatten(1).all(1).tolist(), start=first):
        if not finite:
            raise ValueError(f"crops: crop {index} of {count} holds NaN or infinite pixels")


def faces_not_finite(faces: torch.Tensor) -> torch.Tensor:
    """Indexes of the entries of [N,…] that hold NaN or infinity, [M] int64 on the device of ``faces``."""
    return torch.isfinite(faces).flatten(1).all(1).logical_not().nonzero().flatten()

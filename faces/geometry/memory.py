"""Allocation of large picture tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def new_pictures(*shape: int, device: torch.device) -> Tensor:
    """An uninitialised float32 tensor for large data: frames, crops.

    On a CPU it is allocated by NumPy, which requests huge pages on Linux: the first touch of 100 MB then takes a third
    of the time.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))
    return torch.empty(shape, dtype=torch.float32, device=device)


def copied_pictures(images: Tensor) -> Tensor:
    """A contiguous float32 copy of a batch on its device, never a view, without gradient."""
    return new_pictures(*images.shape, device=images.device).copy_(images.detach())

"""Memory for pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def new_pictures(*shape: int, device: torch.device) -> Tensor:
    """An empty float32 tensor for something large: frames, crops.

    On a CPU NumPy allocates it: on Linux it asks for huge pages, and touching 100 MB for the first time then takes a
    third of the time.
    """
    if device.type == "cpu":
        return torch.from_numpy(np.empty(shape, np.float32))
    return torch.empty(shape, dtype=torch.float32, device=device)


def copied_pictures(images: Tensor) -> Tensor:
    """A contiguous float32 copy of a batch on its device, never a view and without a gradient."""
    return new_pictures(*images.shape, device=images.device).copy_(images.detach())

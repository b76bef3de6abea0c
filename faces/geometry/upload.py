"""Copy small tables from the host to a device without synchronising."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(table: Tensor, device: torch.device) -> Tensor:
    """Copy ``table``, a small CPU tensor, to ``device``; on CUDA asynchronously, through pinned memory."""
    if device.type == "cuda":
        return table.pin_memory().to(device, non_blocking=True)
    return table.to(device)


def steps(count: int, step: float, start: float, device: torch.device) -> Tensor:
    """``start + step · [0 … count-1]``: (count,) float32, computed on ``device``, in float64 on a CPU."""
    wide = torch.float64 if device.type == "cpu" else torch.float32
    return torch.arange(count, dtype=wide, device=device).mul_(step).add_(start).float()

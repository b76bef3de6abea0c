"""Frames on their way to the working device and back: once each, queued on CUDA, no copy where nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def to_device(frame: Tensor, device: torch.device) -> Tensor:
    """The frame on ``device``; from the host to CUDA through pinned memory, without the host waiting."""
    if frame.device == device:
        return frame
    if device.type == "cuda" and frame.device.type == "cpu":
        return frame.contiguous().pin_memory().to(device, non_blocking=True)
    return frame.to(device)


@dataclass
class Arrival:
    """A result that is on its way to where its frame came from."""

    _tensor: Tensor
    _event: Any  # torch.cuda.Event, or None where nothing is queued

    def wait(self) -> Tensor:
        """The result, once it has arrived."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return self._tensor


def send(result: Tensor, home: torch.device) -> Arrival:
    """Start the copy of ``result`` to ``home``; from CUDA to the host into pinned memory, in the background."""
    if result.device == home:
        return Arrival(result, None)
    if result.device.type == "cuda" and home.type == "cpu":
        landing = torch.empty(result.shape, dtype=result.dtype, device="cpu", pin_memory=True)
        landing.copy_(result, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(result.device))
        return Arrival(landing, event)
    return Arrival(result.to(home), None)

"""Turning the caller's autocast off: the network decides for itself what it computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def no_autocast(*devices: torch.device) -> Iterator[None]:
    """Compute in the dtypes of the tensors, on these devices and on the CPU, inside any ``torch.autocast``."""
    with ExitStack() as stack:
        for kind in {"cpu", *(device.type for device in devices)}:
            try:
                context = torch.autocast(kind, enabled=False)
            except RuntimeError:  # a device that has no autocast, such as meta: there is nothing to turn off
                continue
            stack.enter_context(context)
        yield

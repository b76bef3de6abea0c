"""Run pixel arithmetic in its own precision, also under a host's autocast."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
_AUTOCAST = ("cpu", "cuda", "xpu")  # device types with autocast in all supported versions of PyTorch


def full_precision(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """Wrap ``function`` with autocast disabled for this thread and the device type of its first argument."""

    @functools.wraps(function)
    def wrapped(first: Tensor, *args: P.args, **kwargs: P.kwargs) -> R:
        if first.device.type not in _AUTOCAST:
            return function(first, *args, **kwargs)
        with torch.amp.autocast_mode.autocast(first.device.type, enabled=False):
            return function(first, *args, **kwargs)

    return wrapped

"""Pixel arithmetic in the precision that it was written for, whatever autocast a host has switched on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
_AUTOCAST = ("cpu", "cuda", "xpu")  # kinds of device that know autocast in every version that we allow


def full_precision(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """``function`` with autocast switched off for this thread and the device of its first argument."""

    @functools.wraps(function)
    def wrapped(first: Tensor, *args: P.args, **kwargs: P.kwargs) -> R:
        if first.device.type not in _AUTOCAST:
            return function(first, *args, **kwargs)
        with torch.amp.autocast_mode.autocast(first.device.type, enabled=False):
            return function(first, *args, **kwargs)

    return wrapped

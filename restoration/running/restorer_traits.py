"""What a restorer says of itself. Only ``config`` and ``restore`` are required; everything else has a default."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from ...faces.geometry.warp import warps_on
from ...models import BUILTIN_LABEL, CheckCancel, OnNotice

__all__ = [
    "OnNotice",
    "batch_size_of",
    "call",
    "describe",
    "device_of",
    "dtype_of",
    "name_of",
    "provider_of",
    "template_of",
    "warnings_of",
    "working_device",
]

_SMALL = "the built-in model is small; GPEN-BFR-2048 gives far more, once its file lies in a model folder"
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def name_of(restorer: Any) -> str:
    """What a report calls it."""
    return getattr(restorer, "name", None) or type(restorer).__name__


def batch_size_of(restorer: Any) -> int:
    """Faces per call; 1 where it does not say."""
    return max(1, int(getattr(restorer, "batch_size", 1)))


def device_of(restorer: Any, default: torch.device) -> torch.device:
    """Where its weights are now, else ``default``, the device of the frames."""
    device = getattr(restorer, "device", None)
    return default if device is None else torch.device(device)


def working_device(restorer: Any, frames: torch.device) -> torch.device:
    """Where frames are cropped, blended and pasted: on the restorer's device, or on the CPU where that cannot warp."""
    device = device_of(restorer, frames)
    return device if warps_on(device) else torch.device("cpu")


def dtype_of(restorer: Any) -> torch.dtype:
    """What it computes in."""
    return getattr(restorer, "dtype", torch.float32)


def template_of(restorer: Any) -> str:
    """The alignment that it expects."""
    return getattr(restorer, "template", "gpen")


def provider_of(restorer: Any) -> str:
    """What runs it."""
    return getattr(restorer, "provider", None) or type(restorer).__name__


def warnings_of(restorer: Any) -> tuple[str, ...]:
    """Sentences about the loaded file, the same for every run."""
    return tuple(getattr(restorer, "warnings", ()))


def describe(restorer: Any, frames: torch.device) -> dict[str, Any]:
    """The report's entry on what ran; asked after the work, since the precision may show only then."""
    name, dtype = name_of(restorer), dtype_of(restorer)
    return {
        "name": name,
        "in_size": restorer.config.in_size,
        "out_size": restorer.config.out_size,
        "device": str(device_of(restorer, frames)),
        "precision": getattr(restorer, "precision", None) or _PRECISIONS.get(dtype, str(dtype)),
        "provider": provider_of(restorer),
        "advice": _SMALL if name == BUILTIN_LABEL else None,
    }


def call(restorer: Any, crops: torch.Tensor, check_cancel: CheckCancel, on_notice: OnNotice) -> torch.Tensor:
    """``restorer.restore(crops)`` with those of the two callbacks that its signature takes."""
    try:
        parameters = inspect.signature(restorer.restore).parameters.values()
    except (TypeError, ValueError):  # a builtin
        parameters = ()
    names = {parameter.name for parameter in parameters}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        names |= {"check_cancel", "on_notice"}
    offered = {"check_cancel": check_cancel, "on_notice": on_notice}
    return restorer.restore(crops, **{name: value for name, value in offered.items() if name in names})

"""The interface of a restorer, and the conversion of pixels in and out that all restorers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F

from ...gpen_arch import CheckCancel, never_cancelled

OnNotice = Callable[[str, "dict[str, Any]"], None]
"""``on_notice(kind, values)``: what happened in this call of `restore`, as a record for the report of the run.

* ``"widened"``, ``{"model": name, "dtype": "float16", "faces": n}``: so many faces overflowed in that dtype and were
  repeated in float32.
"""


class Sizes(Protocol):
    """The part of a configuration that every restorer has."""

    @property
    def in_size(self) -> int: ...
    @property
    def out_size(self) -> int: ...


@dataclass(frozen=True)
class SquareSizes:
    """Sides of input and output in pixels, where nothing else is known about a network."""

    in_size: int
    out_size: int


@runtime_checkable
class Restorer(Protocol):
    """A loaded model that restores aligned faces, as :func:`load_gpen` returns it.

    Only ``config`` and ``restore(crops)`` are required of an object that stands in for one.

    Attributes:
        name: what a report calls it.
        path: the file it was loaded from, if any.
        config: at least ``in_size`` and ``out_size``.
        module: the nn.Module that a host may move between devices; None under ONNX Runtime.
        provider: what runs it, such as "torch cpu" or "onnxruntime CPUExecutionProvider".
        precision: what it computes in on its current device: "fp32", "tf32", "bf16" or "fp16".
        warnings: sentences about the file and how it was loaded; never about a call of ``restore``.
        template: the alignment that it expects, "gpen" or "ffhq".
        batch_size: how many faces go through the network at once; may be set.
    """

    name: str
    path: Path | None
    template: str
    batch_size: int

    @property
    def config(self) -> Sizes: ...
    @property
    def module(self) -> nn.Module | None: ...
    @property
    def provider(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...

    def restore(
        self,
        crops: torch.Tensor,
        check_cancel: CheckCancel = never_cancelled,
        on_notice: OnNotice | None = None,
    ) -> torch.Tensor:
        """(N,H,W,3) float in [0,1], any H and W -> (N,S,S,3) float32 in [0,1] on the crops' device.

        Args:
            check_cancel: called at least once per batch, and within a face where possible.
            on_notice: gets what happens in this call (see :data:`OnNotice`); None: it is logged.
        """
        ...


def check_crops(crops: torch.Tensor) -> None:
    """Raise unless ``crops`` is a batch of RGB crops by type, shape and dtype. Reads no pixels.

    Raises:
        TypeError: not a tensor.
        ValueError: another shape, or integer pixels.
    """
    if not isinstance(crops, torch.Tensor):
        raise TypeError(f"crops: expected a torch.Tensor (N,H,W,3), got {type(crops).__name__}")
    if crops.dim() != 4 or crops.shape[-1] != 3:
        more = ""
        if crops.dim() == 4 and crops.shape[-1] == 4:
            more = "; remove the alpha channel first, crops[..., :3]"
        elif crops.dim() == 4 and crops.shape[1] == 3:
            more = "; channels come last, crops.permute(0, 2, 3, 1)"
        elif crops.dim() == 3:
            more = "; one crop is a batch of one, crops[None]"
        raise ValueError(f"crops: expected (N,H,W,3), got {tuple(crops.shape)}{more}")
    if not crops.is_floating_point():
        raise ValueError(f"crops: expected floating point in [0,1], got {crops.dtype}; use crops.float() / 255")
    if crops.shape[0] and 0 in crops.shape:
        raise ValueError(f"crops: expected at least one pixel, got {tuple(crops.shape)}")


def to_network(crops: torch.Tensor, size: int) -> torch.Tensor:
    """Crops as the network's input.

    Args:
        crops: (N,H,W,3) floating point, [0,1]; values outside are clamped.
        size: side of the network's input in pixels.

    Returns:
        (N,3,size,size) float32 RGB in [-1,1] on the crops' device. Other sizes are resized with an antialiased
        bicubic filter; pixel centres at half-integers (`align_corners=False`), so the crop does not shift.
    """
    x = crops.permute(0, 3, 1, 2).to(torch.float32)  # [N,3,H,W]
    if x.shape[2:] != (size, size):
        home = x.device
        if home.type == "mps":  # PyTorch has no antialiased bicubic filter there
            x = x.cpu()
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False).to(home)
    return x.clamp(0, 1) * 2 - 1


def from_network(y: torch.Tensor, device: torch.device) -> torch.Tensor:
    """[N,3,S,S] nominally in [-1,1] -> (N,S,S,3) float32 in [0,1] on ``device``."""
    return ((y.to(torch.float32).clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 1).to(device)


def default_batch_size(out_size: int, device: torch.device) -> int:
    """Number of faces that keep a device busy with a small network; on the CPU, which gains nothing, 512² pixels."""
    side = 512 if device.type == "cpu" else 1024
    return max(1, min(16, (side // out_size) ** 2))

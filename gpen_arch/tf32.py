"""Convolutions and matrix products that state whether TF32 may be used, instead of following PyTorch's global flags.

TF32 is how NVIDIA GPUs from Ampere on multiply float32 on tensor cores: 10 bits of mantissa, several times as fast.
PyTorch allows it in cuDNN's convolutions by default, and in matrix products where the host's program asked for it.
Outside of CUDA, and for other dtypes, every function here is the plain one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .cancel import CheckCancel, never_cancelled


def runs_tf32(device: torch.device) -> bool:
    """Whether float32 convolutions that allow TF32 run in TF32 on ``device``."""
    return (
        device.type == "cuda"
        and torch.version.hip is None
        and torch.backends.cudnn.enabled
        and torch.backends.cudnn.is_available()
        and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    groups: int = 1,
    tf32: bool,
) -> torch.Tensor:
    """``F.conv2d``, in TF32 where ``tf32`` and the device has it: [N,I,H,W], [O,I/groups,K,K] -> [N,O,H',W']."""
    if not _may_be_tf32(x):
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)
    return _convolution(x, weight, bias, stride, padding, False, groups, tf32)


def conv_transpose2d(
    x: torch.Tensor, weight: torch.Tensor, *, stride: Sequence[int], padding: Sequence[int] = (0, 0), tf32: bool
) -> torch.Tensor:
    """``F.conv_transpose2d``, in TF32 where ``tf32`` and the device has it: [N,I,H,W], [I,O,K,K] -> [N,O,H',W']."""
    if not _may_be_tf32(x):
        return F.conv_transpose2d(x, weight, None, stride, padding)
    return _convolution(x, weight, None, stride, padding, True, 1, tf32)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``F.linear``, never in TF32: [N,I], [O,I], [O] -> [N,O]."""
    if not _products_follow_tf32(x):
        return F.linear(x, weight, bias)
    product = matmul(x, weight.t())
    return product if bias is None else product + bias


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a @ b``, never in TF32: [M,K], [K,N] -> [M,N]."""
    if not _products_follow_tf32(a):
        return a @ b
    # PyTorch's products take no such argument; a 1×1 convolution over M pixels does
    y = conv2d(a.t()[None, :, :, None], b.t()[:, :, None, None], tf32=False)  # [1,N,M,1]
    return y[0, :, :, 0].t()


def baddbmm(bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``torch.baddbmm``, never in TF32: [N], [B,M,K], [B,K,N] -> [B,M,N]."""
    if not _products_follow_tf32(a):
        return torch.baddbmm(bias, a, b)
    return torch.stack([matmul(x, y) for x, y in zip(a, b, strict=True)]) + bias


class FixedTF32(TorchFunctionMode):
    """Within it, PyTorch's convolutions and products allow TF32 as in this module, not as in the global flags.

    For code that calls PyTorch directly, as the reference does. Acts on the current thread only.

    Args:
        tf32: whether convolutions may run in TF32; products never do.
        check_cancel: called before every convolution.
    """

    def __init__(self, tf32: bool, check_cancel: CheckCancel = never_cancelled) -> None:
        super().__init__()
        self._tf32 = tf32
        self._check_cancel = check_cancel

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (F.conv2d, F.conv_transpose2d):
            self._check_cancel()
        if func is F.conv2d and _may_be_tf32(args[0]):
            return self._conv2d(*args, **kwargs)
        if func is F.conv_transpose2d and _may_be_tf32(args[0]):
            return self._conv_transpose2d(*args, **kwargs)
        if func is F.linear and _products_follow_tf32(args[0]):
            return linear(*args, **kwargs)
        if func in (torch.Tensor.__matmul__, torch.Tensor.matmul, torch.matmul) and _products_follow_tf32(args[0]):
            return matmul(*args, **kwargs)
        return func(*args, **kwargs)

    def _conv2d(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> torch.Tensor:
        return _convolution(x, weight, bias, (stride, stride), (padding, padding), False, groups, self._tf32)

    def _conv_transpose2d(self, x: torch.Tensor, weight: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return _convolution(x, weight, None, (stride, stride), (0, 0), True, 1, self._tf32)


def _convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    transposed: bool,
    groups: int,
    tf32: bool,
) -> torch.Tensor:
    cudnn = torch.backends.cudnn
    deterministic = cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    options = (cudnn.benchmark, deterministic, cudnn.enabled, tf32)
    return torch.ops.aten._convolution.default(
        x, weight, bias, stride, padding, (1, 1), transposed, (0, 0), groups, *options
    )


def _may_be_tf32(x: torch.Tensor) -> bool:
    return x.device.type == "cuda" and x.dtype == torch.float32


def _products_follow_tf32(x: torch.Tensor) -> bool:
    """Whether PyTorch would compute a product of ``x`` in TF32, which it does only where the host turned that on."""
    if not _may_be_tf32(x):
        return False
    flags = torch.backends.cuda.matmul
    if hasattr(flags, "fp32_precision"):  # from 2.9 on, where reading the older flag may raise
        return flags.fp32_precision == "tf32"
    return bool(flags.allow_tf32)

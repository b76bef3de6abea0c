"""Layers with an equalised learning rate; their attribute names make up the published state-dict keys.

Parameters are float32 whatever ``torch.set_default_dtype`` says, as the published files are.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from .ops import biased_leaky_relu, fir_kernel, modulated_conv2d, pixel_norm, upfirdn2d

_MAPPING_LR = 0.01


class EqualLinear(nn.Module):
    """``x W^T · lr_mul/sqrt(in) + bias · lr_mul``, then leaky ReLU if ``activate``: [N,in] -> [N,out]."""

    def __init__(
        self, in_dim: int, out_dim: int, *, lr_mul: float = 1, bias_init: float = 0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim, dtype=torch.float32) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_dim,), bias_init / lr_mul, dtype=torch.float32))
        self.lr_mul = lr_mul
        self.scale = lr_mul / math.sqrt(in_dim)
        self.activate = activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,in] -> [N,out]."""
        if self.activate:
            return biased_leaky_relu(F.linear(x, self.weight * self.scale), self.bias * self.lr_mul)
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)


class PixelNorm(nn.Module):
    """Entry 0 of the mapping network, without parameters: its linear layers are numbered from 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,C] -> [N,C]."""
        return pixel_norm(x)


def mapping_network(style_dim: int, layers: int) -> nn.Sequential:
    """The mapping network z -> w: pixel norm, then ``layers`` linears at a hundredth of the learning rate."""
    linears = [EqualLinear(style_dim, style_dim, lr_mul=_MAPPING_LR, activate=True) for _ in range(layers)]
    return nn.Sequential(PixelNorm(), *linears)


class EqualConv2d(nn.Module):
    """A convolution without bias whose weight is used times 1/sqrt(in·k²)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(out_channels, in_channels, kernel_size, kernel_size, dtype=torch.float32)
        )
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,in,H,W] -> [N,out,H',W'], no padding."""
        return F.conv2d(x, self.weight * self.scale, stride=self.stride)


class BiasedLeakyReLU(nn.Module):
    """Bias per channel, leaky ReLU 0.2, gain sqrt(2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] -> [N,C,H,W]."""
        return biased_leaky_relu(x, self.bias)


class Blur(nn.Module):
    """Blur by [1,3,3,1] with fixed padding and gain, after an upsampling by ``up``."""

    kernel: torch.Tensor

    def __init__(self, pad: tuple[int, int], *, gain: float = 1, up: int = 1) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(gain))
        self.pad = pad
        self.up = up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] -> [N,C,H·up + pad - 3, …]."""
        return upfirdn2d(x, self.kernel, up=self.up, pad=self.pad)


class ModulatedConv2d(nn.Module):
    """A convolution modulated by the style vector and, except for RGB, demodulated (StyleGAN2)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        shape = (1, out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape, dtype=torch.float32))
        self.modulation = EqualLinear(style_dim, in_channels, bias_init=1)
        self.scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.demodulate = demodulate
        self.upsample = upsample
        if upsample:
            self.blur = Blur((1, 1), gain=4)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """[N,I,H,W], [N,style] -> [N,O,H,W], twice the size with ``upsample``."""
        x = modulated_conv2d(
            x, self.weight[0] * self.scale, self.modulation(w), demodulate=self.demodulate, up=self.upsample
        )
        return self.blur(x) if self.upsample else x


class FeatureInjection(nn.Module):
    """The encoder's feature map in place of StyleGAN's noise: times one weight, then concatenated (GPEN) or added."""

    def __init__(self, *, concat: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float32))
        self.concat = concat

    def forward(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W], [N or 1,C,H,W] -> [N,2C,H,W], or [N,C,H,W] if added."""
        feature = (self.weight * feature).expand_as(x)
        return torch.cat((x, feature), dim=1) if self.concat else x + feature

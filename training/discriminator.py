"""StyleGAN2's residual discriminator on windows of the face, at any size."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from ..gpen_arch.layers import BiasedLeakyReLU, Blur, EqualConv2d, EqualLinear

_BASE_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16, 2048: 8}


class Convolution(nn.Module):
    """Optional blur and stride 2, equalised convolution, optional biased leaky ReLU."""

    def __init__(self, i: int, o: int, kernel_size: int, *, down: bool = False, activate: bool = True) -> None:
        super().__init__()
        pad = kernel_size - 1 + 2  # padding of the blur, so that stride 2 halves the size exactly
        self.blur = Blur(((pad + 1) // 2, pad // 2)) if down else None
        self.conv = EqualConv2d(i, o, kernel_size, stride=2 if down else 1)
        self.activate = BiasedLeakyReLU(o) if activate else None
        self.pad = 0 if down else kernel_size // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,i,H,W] -> [N,o,H,W], or [N,o,H/2,W/2] if ``down``."""
        x = F.pad(x, (self.pad,) * 4) if self.blur is None else self.blur(x)
        x = self.conv(x)
        return x if self.activate is None else self.activate(x)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, the second with stride 2, plus a 1×1 skip with stride 2."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv1 = Convolution(i, i, 3)
        self.conv2 = Convolution(i, o, 3, down=True)
        self.skip = Convolution(i, o, 1, down=True, activate=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,i,H,W] -> [N,o,H/2,W/2]."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """Logits "real" against "restored" of square windows.

    Args:
        size: side of the input, a power of two, at least 8.
        narrow: width relative to StyleGAN2's.
        in_channels: 3, or 6 if the degraded picture is concatenated.

    Source: StyleGAN2 (Karras et al. 2020), the residual discriminator with minibatch standard deviation.
    """

    def __init__(self, size: int, *, narrow: float = 0.25, in_channels: int = 3) -> None:
        super().__init__()
        if size not in _BASE_CHANNELS or size < 8:
            raise ValueError(f"size: expected a power of two from 8 to 2048, got {size}")
        self.size = size
        sizes = [s for s in reversed(_BASE_CHANNELS) if s <= size]
        widths = [max(4, int(_BASE_CHANNELS[s] * narrow)) for s in sizes]
        blocks = [ResidualBlock(i, o) for i, o in itertools.pairwise(widths)]
        self.body = nn.Sequential(Convolution(in_channels, widths[0], 1), *blocks)
        self.last = Convolution(widths[-1] + 1, widths[-1], 3)
        self.head = nn.Sequential(EqualLinear(widths[-1] * 16, widths[-1], activate=True), EqualLinear(widths[-1], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,in_channels,size,size] in [-1,1] -> logits [N,1]; larger is more real."""
        x = minibatch_deviation(self.body(x))
        return self.head(self.last(x).flatten(1))


def minibatch_deviation(x: torch.Tensor, group: int = 4) -> torch.Tensor:
    """Append the mean standard deviation over groups of the batch as a channel: [N,C,H,W] -> [N,C+1,H,W]."""
    n, _, h, w = x.shape
    group = min(group, n)
    while n % group:
        group -= 1
    spread = x.float().reshape(group, n // group, -1).var(dim=0, unbiased=False).add(1e-8).sqrt().mean(dim=1)
    return torch.cat((x, spread.to(x).repeat(group).view(n, 1, 1, 1).expand(n, 1, h, w)), dim=1)


def windows(rng: torch.Generator, count: int, size: int, window: int) -> list[tuple[int, int]]:
    """Top-left corners (y, x) of windows around the centre of the aligned face, jittered by a quarter of the slack."""
    room = size - window
    centre = torch.tensor([min(1.0, 0.62), 0.5]) * room
    offsets = (torch.rand(count, 2, generator=rng) - 0.5) * room * 0.5
    return [(int(y), int(x)) for y, x in (centre + offsets).clamp(0, room).round().tolist()]


def cut(x: torch.Tensor, corners: list[tuple[int, int]], window: int) -> torch.Tensor:
    """Crop one window per picture: [N,C,S,S] -> [N,C,window,window]."""
    return torch.stack([p[:, y : y + window, x0 : x0 + window] for p, (y, x0) in zip(x, corners, strict=True)])

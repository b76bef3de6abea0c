"""The RGB image that accumulates from level to level (StyleGAN2's skip connections)."""

from __future__ import annotations

import torch
from torch import nn

from ..tf32 import baddbmm, conv2d
from . import resampling
from .folding import FoldedWeights


class ToRGB(nn.Module):
    """Weights of a modulated 1×1 convolution to RGB, not demodulated; modulated in float32."""

    def __init__(self, weights: FoldedWeights, prefix: str) -> None:
        super().__init__()
        weight = weights.conv(f"{prefix}.conv.weight", torch.float32, channels_last=False, gain=1)
        self.weight = nn.Parameter(weight.flatten(1), requires_grad=False)  # [3,C]
        self.bias = nn.Parameter(weights.scaled(f"{prefix}.bias").flatten(), requires_grad=False)


class SkipRGB:
    """The RGB of one level, [N,3,S,S] float32, filled from top to bottom; lives for one call of the engine.

    All but the last level's have a border of zeros, which the upsampling reads.

    Args:
        layer: its convolution.
        style: [N,C] float32.
        dtype: of the activations.
        below: the RGB of the level below, which is upsampled and added; None at 4 px.
        last: this is the output.
    """

    def __init__(
        self, layer: ToRGB, style: torch.Tensor, size: int, dtype: torch.dtype, below: SkipRGB | None, *, last: bool
    ) -> None:
        self._weight = (layer.weight * style[:, None]).transpose(1, 2).to(dtype)  # [N,C,3]
        self._bias = layer.bias.to(dtype)
        self._below = below
        self._done = 0
        self.last = last
        if last:
            self.data = layer.weight.new_empty(style.shape[0], 3, size, size)
        else:
            self._bordered = layer.weight.new_zeros(style.shape[0], 3, size + 2, size + 2)
            self.data = self._bordered[:, :, 1:-1, 1:-1]

    def of(self, index: int) -> SkipRGB:
        """The finished RGB of one batch entry."""
        one = object.__new__(SkipRGB)
        one.__dict__.update(self.__dict__)
        one._bordered = self._bordered[index : index + 1]
        one.data = self.data[index : index + 1]
        return one

    def add(self, x: torch.Tensor) -> None:
        """Convert the next rows of activations: [N,n,W,C], or [N,n,2,W,C/2] with alternating rows."""
        first, last = self._done, self._done + x.shape[1]
        if x.dim() == 5:
            weight = resampling.over_alternating_rows(self._weight.transpose(1, 2)[0, :, :, None, None])
            rows = x.flatten(1, 2).permute(0, 3, 1, 2)
            rgb = conv2d(rows, weight, self._bias, stride=(2, 1), tf32=False)
        else:
            pixels = baddbmm(self._bias, x.flatten(1, 2), self._weight)
            rgb = pixels.view(*x.shape[:3], 3).permute(0, 3, 1, 2)
        out = self.data[:, :, first:last]
        if self._below is None:
            out.copy_(rgb)
        else:
            top = first // 2
            below = self._below._bordered[:, :, top : (last + 1) // 2 + 2]
            larger = resampling.enlarge(below)[:, :, first - 2 * top :]
            torch.add(larger[:, :, : last - first], rgb, out=out)
        self._done = last

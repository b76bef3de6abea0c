"""The RGB picture that grows from level to level."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from . import resampling
from .folding import Folder
from .resampling import enlarge


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to RGB, without demodulation; scaled in float32."""

    def __init__(self, folder: Folder, prefix: str) -> None:
        super().__init__()
        weight = folder.conv(f"{prefix}.conv.weight", torch.float32, channels_last=False, gain=1)
        self.weight = nn.Parameter(weight.flatten(1), requires_grad=False)  # [3,C]
        self.bias = nn.Parameter(folder.scaled(f"{prefix}.bias").flatten(), requires_grad=False)


class Picture:
    """The RGB picture of one level, [N,3,S,S] float32, filled from top to bottom.

    All but the last have a border of zeros around them, which the enlargement reads.
    """

    def __init__(
        self, layer: ToRGB, style: torch.Tensor, size: int, dtype: torch.dtype, below: Picture | None, *, last: bool
    ) -> None:
        self._weight = (layer.weight * style[:, None]).transpose(1, 2).to(dtype)  # [N,C,3]
        self._bias = layer.bias.to(dtype)
        self._below = below
        self.size = size
        self._done = 0
        self.last = last
        if last:
            self.data = layer.weight.new_empty(style.shape[0], 3, size, size)
        else:
            self._bordered = layer.weight.new_zeros(style.shape[0], 3, size + 2, size + 2)
            self.data = self._bordered[:, :, 1:-1, 1:-1]

    def of(self, index: int) -> Picture:
        """The finished picture of one batch entry."""
        one = object.__new__(Picture)
        one.__dict__.update(self.__dict__)
        one._bordered = self._bordered[index : index + 1]
        one.data = self.data[index : index + 1]
        return one

    def add(self, x: torch.Tensor) -> None:
        """Take the next rows of activations, [N,n,W,C], or [N,n,2,W,C/2] with alternating rows."""
        first, last = self._done, self._done + x.shape[1]
        if x.dim() == 5:
            weight = resampling.over_alternating_rows(self._weight.transpose(1, 2)[0, :, :, None, None])
            rgb = F.conv2d(x.flatten(1, 2).permute(0, 3, 1, 2), weight, self._bias, stride=(2, 1))
        else:
            rgb = torch.baddbmm(self._bias, x.flatten(1, 2), self._weight).view(*x.shape[:3], 3).permute(0, 3, 1, 2)
        out = self.data[:, :, first:last]
        if self._below is None:
            out.copy_(rgb)
        else:
            top = first // 2
            larger = enlarge(self._below._bordered[:, :, top : (last + 1) // 2 + 2])[:, :, first - 2 * top :]
            torch.add(larger[:, :, : last - first], rgb, out=out)
        self._done = last

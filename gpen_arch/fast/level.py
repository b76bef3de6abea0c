"""One resolution of the synthesis, computed in strips of rows that it pulls from the level below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..hyperparameters import Hyperparameters
from . import resampling
from .encoder import Features
from .folding import FoldedWeights
from .modulated import ModulatedConv
from .rgb import SkipRGB, ToRGB
from .rows import RowStrip


class Injection(nn.Module):
    """The biased feature map next to (or added to) a convolution's result, then leaky ReLU."""

    def __init__(self, weights: FoldedWeights, prefix: str, channels: int, dtype: torch.dtype, *, concat: bool) -> None:
        super().__init__()
        self.strength = float(weights.bias(f"{prefix}.noise.weight"))  # times sqrt(2), as every bias
        bias = weights.bias(f"{prefix}.activate.bias").to(dtype)
        self.bias = nn.Parameter(bias[channels:].clone(), requires_grad=False) if concat else None

    def forward(self, y: torch.Tensor, f: torch.Tensor, out: torch.Tensor) -> None:
        """Write the activations of ``y`` [N,n,W,C] (overwritten) and the features ``f`` [N or 1,n,W,C] into ``out``.

        ``out`` is [N,n,W,2C], or [N,n,2,W,C] with alternating rows; [N,n,W,C] if the features are added.
        """
        if self.bias is None:
            torch.add(y, f, alpha=self.strength, out=out)
            F.leaky_relu_(out, 0.2)
            return
        row = self.bias.expand(y.shape[2], -1).contiguous()  # as wide as the row: one contiguous pass
        if out.dim() == 5:
            torch.ops.aten.leaky_relu.out(y, 0.2, out=out[:, :, 0])
            F.leaky_relu_(torch.add(row, f, alpha=self.strength, out=out[:, :, 1]), 0.2)
        else:  # activated first, moved afterwards: computing on short runs of channels is slow, copying them is not
            out[..., : y.shape[3]].copy_(F.leaky_relu_(y, 0.2))
            out[..., y.shape[3] :].copy_(F.leaky_relu_(torch.add(row, f, alpha=self.strength), 0.2))


class Level(nn.Module):
    """One resolution of the synthesis above 4 px: upsampling convolution, convolution, RGB."""

    def __init__(
        self, weights: FoldedWeights, config: Hyperparameters, index: int, dtype: torch.dtype, tf32: bool
    ) -> None:
        super().__init__()
        self.size = config.levels[index + 1]
        channels = config.channels[index + 1]
        self.width = channels * (2 if config.concat else 1)  # channels after the injection
        inputs = config.channels[index] * (2 if config.concat else 1)
        first, second = f"generator.convs.{2 * index}", f"generator.convs.{2 * index + 1}"
        pixels = self.size**2
        self.activations = pixels * self.width
        # a batch shares the weights where scaling the activations is less work: at the small levels
        self.scale_weights = 9 * channels * (inputs + self.width) < pixels * (inputs // 4 + self.width + 2 * channels)
        options: dict[str, Any] = {"dtype": dtype, "tf32": tf32, "scale_weights": self.scale_weights}
        self.concat = config.concat
        self.up = ModulatedConv(weights, first, channels, up=True, **options)
        self.conv = ModulatedConv(weights, second, channels, up=False, **options)
        self.inject_up = Injection(weights, first, channels, dtype, concat=config.concat)
        self.inject_conv = Injection(weights, second, channels, dtype, concat=config.concat)
        self.to_rgb = ToRGB(weights, f"generator.to_rgbs.{index}")

    def rows(
        self,
        windows: Iterator[torch.Tensor],
        rows: int,
        style: Sequence[torch.Tensor],
        features: Features,
        rgb: SkipRGB,
    ) -> Iterator[torch.Tensor]:
        """Windows [N,n+2,S/2,C'] of the level below, n <= ``rows`` -> windows [N,m+2,S,C] of this one, m <= 2·rows + 2.

        Args:
            style: [N,·] float32 for the two convolutions.
            rgb: gets every row. If it is the output, the windows may have another shape and are not to be read.
        """
        batch, size, width = style[0].shape[0], self.size, self.width
        alternating = self.concat and self.scale_weights and resampling.alternates_rows(style[0].device)
        up, conv = self.up.prepare(style[0]), self.conv.prepare(style[1], alternating=alternating)
        together, apart = (batch, size, width), (batch, 2, size, width // 2)
        like = self.up.bias
        middle = RowStrip(size, 2 * rows, apart if alternating else together, like)
        after = RowStrip(size, 2 * rows + 1, apart if alternating and rgb.last else together, like)
        for window in windows:
            y = up(window)  # [N,2n,S,C]
            count = y.shape[1]
            f = features.rows(after.done, middle.done + count)  # the second convolution is one row behind the first
            self.inject_up(y, f[:, middle.done - after.done :], middle.next_rows(count))
            for inner in middle.windows(count):
                y = conv(inner)
                count = y.shape[1]
                space = after.next_rows(count)
                self.inject_conv(y, f[:, :count], space)
                rgb.add(space)
                yield from after.windows(count)

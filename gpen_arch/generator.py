"""The StyleGAN2 synthesis network with the encoder's feature maps as its noise inputs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from .config import GPENConfig
from .layers import BiasedLeakyReLU, Blur, FeatureInjection, ModulatedConv2d, mapping_network


class ConstantInput(nn.Module):
    """The learned 4×4 map that the synthesis starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4, dtype=torch.float32))

    def forward(self, batch: int) -> torch.Tensor:
        """-> [N,C,4,4]."""
        return self.input.expand(batch, -1, -1, -1)


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, feature injection, biased leaky ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, *, concat: bool, upsample: bool = False
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, style_dim, upsample=upsample)
        self.noise = FeatureInjection(concat=concat)
        self.activate = BiasedLeakyReLU(out_channels * (2 if concat else 1))

    def forward(self, x: torch.Tensor, w: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        """[N,I,H,W], [N,style], [N,O,H',W'] -> [N,2·O,H',W'] (O if features are added)."""
        return self.activate(self.noise(self.conv(x, w), feature))


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to RGB, added to the upsampled RGB of the level below."""

    def __init__(self, in_channels: int, style_dim: int, *, upsample: bool = True) -> None:
        super().__init__()
        if upsample:
            self.upsample = Blur((2, 1), gain=4, up=2)
        self.conv = ModulatedConv2d(in_channels, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1, dtype=torch.float32))

    def forward(self, x: torch.Tensor, w: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """[N,C,H,W], [N,style], [N,3,H/2,W/2] -> [N,3,H,W]."""
        rgb = self.conv(x, w) + self.bias
        return rgb if skip is None else rgb + self.upsample(skip)


class Generator(nn.Module):
    """Mapping and synthesis: a vector and one feature map per level -> RGB.

    Source: GPEN (arXiv 2105.06070), section 3.2; StyleGAN2 for the blocks.
    """

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        self.config = config
        width = 2 if config.concat else 1
        style_dim, base = config.style_dim, config.channels[0]
        self.style = mapping_network(style_dim, config.mapping_layers)
        self.input = ConstantInput(base)
        self.conv1 = StyledConv(base, base, style_dim, concat=config.concat)
        self.to_rgb1 = ToRGB(base * width, style_dim, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for below, channels in itertools.pairwise(config.channels):
            self.convs.append(StyledConv(below * width, channels, style_dim, concat=config.concat, upsample=True))
            self.convs.append(StyledConv(channels * width, channels, style_dim, concat=config.concat))
            self.to_rgbs.append(ToRGB(channels * width, style_dim))

    def forward(self, z: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """[N,style] and [N or 1,C,s,s] per level s = 4, 8, … out_size -> [N,3,out_size,out_size]."""
        if len(features) != len(self.config.levels):
            raise ValueError(f"features: expected {len(self.config.levels)}, one per level, got {len(features)}")
        w = self.style(z)
        x = self.conv1(self.input(z.shape[0]), w, features[0])
        rgb = self.to_rgb1(x, w)
        for i, feature in enumerate(features[1:]):
            x = self.convs[2 * i](x, w, feature)
            x = self.convs[2 * i + 1](x, w, feature)
            rgb = self.to_rgbs[i](x, w, rgb)
        return rgb

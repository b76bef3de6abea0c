"""GPEN, the readable reference: an encoder whose vector and feature maps drive a StyleGAN2 generator."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from .config import GPENConfig
from .generator import Generator
from .layers import BiasedLeakyReLU, Blur, EqualConv2d, EqualLinear

_NOISE_SEED = 2048


class GPEN(nn.Module):
    """GAN Prior Embedded Network for blind face restoration.

    Loads the published state dicts strictly. Deterministic, also in the SR variant: where the authors draw new noise
    per call for the levels above the input, this takes :func:`level_noise`. Follows the caller's autocast, to train it.

    Args:
        config: the hyperparameters; :meth:`GPENConfig.from_state_dict` reads them from weights.

    Source: Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild", CVPR 2021.
    """

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [size for size in reversed(config.levels) if size <= config.in_size]  # in_size, …, 8, 4
        first = config.channels_at(config.in_size)
        self.ecd0 = nn.Sequential(nn.Sequential(EqualConv2d(3, first, 1), BiasedLeakyReLU(first)))
        for k, (above, below) in enumerate(itertools.pairwise(sizes), start=1):
            i, o = config.channels_at(above), config.channels_at(below)
            block = nn.Sequential(Blur((2, 2)), EqualConv2d(i, o, 3, stride=2), BiasedLeakyReLU(o))
            self.add_module(f"ecd{k}", nn.Sequential(block))
        self.encoder_levels = len(sizes)
        self.final_linear = nn.Sequential(EqualLinear(config.channels[0] * 16, config.style_dim, activate=True))
        self.generator = Generator(config)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """[N,3,in,in] -> z [N,style] and the feature maps of 4, 8, … in_size px."""
        features: list[torch.Tensor] = []
        for k in range(self.encoder_levels):
            x = self.get_submodule(f"ecd{k}")(x)
            features.insert(0, x)
        return self.final_linear(x.flatten(1)), features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Restored faces, for aligned faces.

        Args:
            x: [N,3,in_size,in_size], RGB in [-1, 1], in the dtype and on the device of the weights.

        Returns:
            [N,3,out_size,out_size], RGB, nominally in [-1, 1], not clamped.

        Raises:
            ValueError: ``x`` has another shape.
        """
        size = self.config.in_size
        if x.dim() != 4 or tuple(x.shape[1:]) != (3, size, size):
            raise ValueError(f"x: expected [N,3,{size},{size}], got {list(x.shape)}")
        z, features = self.encode(x)
        for above in self.config.levels[self.encoder_levels :]:
            features.append(level_noise(self.config.channels_at(above), above).to(x))
        return self.generator(z, features)


def level_noise(channels: int, size: int) -> torch.Tensor:
    """The SR variant's features of a level above its input: [1,C,size,size] float32 on the CPU, N(0,1).

    The seed depends on the level only, so results repeat, agree between devices, and are the same for every entry of
    a batch.
    """
    generator = torch.Generator("cpu").manual_seed(_NOISE_SEED + size)
    return torch.randn(1, channels, size, size, generator=generator, device="cpu", dtype=torch.float32)

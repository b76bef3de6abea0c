"""A tiny model file and networks that stand in for an engine."""

from __future__ import annotations

from pathlib import Path

import torch
from gpen_pack.gpen_arch import GPEN, CheckCancel, GPENConfig, never_cancelled
from torch import nn

CONFIG = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2, channel_multiplier=1)


def write_tiny(folder: Path) -> Path:
    """A model file of 64 px with random weights, always the same."""
    torch.manual_seed(3)
    torch.save(GPEN(CONFIG).state_dict(), folder / "tiny.pth")
    return folder / "tiny.pth"


class Constant(nn.Module):
    """Gives its parameter for every pixel, and records its inputs."""

    def __init__(self, value: float, size: int = 8, out: int | None = None) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.size = size
        self.out = out or size
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        assert x.shape[1:] == (3, self.size, self.size)
        self.seen.append(x)
        return self.value.expand(len(x), 3, self.out, self.out)


class Overflows(nn.Module):
    """The identity, whose intermediate values overflow in float16 where ``x`` exceeds 0.0024."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, 1, 1, 1), 300.0))

    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        x = x.to(self.scale.dtype)
        return x * self.scale * self.scale * self.scale / self.scale / self.scale / self.scale

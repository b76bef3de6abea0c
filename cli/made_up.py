"""Made-up weights for a copy of the pack without the built-in model: the chain runs, nothing is restored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .atomic import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 4  # doublings from 4 px: 64 px
WIDTH, STYLE = 8, 32  # channels of every level; width of the style vector


def write_made_up_weights(path: Path) -> None:
    """A ``.safetensors`` of a GPEN of 64 px with random weights, under the published keys (50 KB)."""
    from safetensors.torch import save

    write_atomically(path, save({key: value.contiguous() for key, value in made_up_weights().items()}))


def made_up_weights() -> dict[str, Tensor]:
    """The state dict: as published files have it, the smallest that makes sense."""
    import torch

    random = torch.Generator().manual_seed(0)
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    blur = row[:, None] * row / row.sum() ** 2
    weights: dict[str, Tensor] = {}

    def normal(key: str, *shape: int) -> None:
        weights[key] = torch.randn(shape, generator=random)

    def zeros(key: str, *shape: int) -> None:
        weights[key] = torch.zeros(shape)

    def modulated(name: str, outputs: int, inputs: int, kernel: int) -> None:
        normal(f"{name}.conv.weight", 1, outputs, inputs, kernel, kernel)
        normal(f"{name}.conv.modulation.weight", inputs, STYLE)
        weights[f"{name}.conv.modulation.bias"] = torch.ones(inputs)

    def block(name: str, inputs: int) -> None:
        modulated(name, WIDTH, inputs, 3)
        weights[f"{name}.noise.weight"] = torch.ones(1)
        zeros(f"{name}.activate.bias", 2 * WIDTH)

    def to_rgb(name: str) -> None:
        modulated(name, 3, 2 * WIDTH, 1)
        zeros(f"{name}.bias", 1, 3, 1, 1)

    normal("ecd0.0.0.weight", WIDTH, 3, 1, 1)
    zeros("ecd0.0.1.bias", WIDTH)
    for level in range(1, LEVELS + 1):
        weights[f"ecd{level}.0.0.kernel"] = blur.clone()
        normal(f"ecd{level}.0.1.weight", WIDTH, WIDTH, 3, 3)
        zeros(f"ecd{level}.0.2.bias", WIDTH)
    normal("final_linear.0.weight", STYLE, 16 * WIDTH)
    zeros("final_linear.0.bias", STYLE)
    for layer in (1, 2):
        weights[f"generator.style.{layer}.weight"] = torch.randn((STYLE, STYLE), generator=random) / 0.01  # lr_mul
        zeros(f"generator.style.{layer}.bias", STYLE)
    normal("generator.input.input", 1, WIDTH, 4, 4)
    block("generator.conv1", WIDTH)
    to_rgb("generator.to_rgb1")
    for level in range(LEVELS):
        for half in (2 * level, 2 * level + 1):
            block(f"generator.convs.{half}", 2 * WIDTH)
        weights[f"generator.convs.{2 * level}.conv.blur.kernel"] = blur * 4
        to_rgb(f"generator.to_rgbs.{level}")
        weights[f"generator.to_rgbs.{level}.upsample.kernel"] = blur * 4
    return weights

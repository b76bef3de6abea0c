"""The keys and shapes of a GPEN's state dict, computed from its hyperparameters without building the network."""

from __future__ import annotations

import itertools

from .hyperparameters import Hyperparameters

Shape = tuple[int, ...]
_BLUR: Shape = (4, 4)


def expected_shapes(config: Hyperparameters) -> dict[str, Shape]:
    """Every key of ``GPEN(config).state_dict()`` with its shape, in the same order.

    Building the network on the meta device instead takes over a second in a fresh process, as PyTorch then imports
    its compiler.
    """
    width = 2 if config.concat else 1
    base = config.channels[0]
    shapes = _encoder(config)
    for i in range(1, config.mapping_layers + 1):
        shapes |= _linear(f"generator.style.{i}", config.style_dim, config.style_dim)
    shapes["generator.input.input"] = (1, base, 4, 4)
    shapes |= _styled(config, "generator.conv1", base, base)
    shapes |= _to_rgb(config, "generator.to_rgb1", base * width)
    for i, (below, channels) in enumerate(itertools.pairwise(config.channels)):
        shapes |= _styled(config, f"generator.convs.{2 * i}", below * width, channels, up=True)
        shapes |= _styled(config, f"generator.convs.{2 * i + 1}", channels * width, channels)
    for i, channels in enumerate(config.channels[1:]):
        shapes |= _to_rgb(config, f"generator.to_rgbs.{i}", channels * width, up=True)
    return shapes


def _encoder(config: Hyperparameters) -> dict[str, Shape]:
    """The encoder from the image down to 4 px, and the linear layer after it."""
    sizes = [size for size in reversed(config.levels) if size <= config.in_size]
    first = config.channels_at(sizes[0])
    shapes: dict[str, Shape] = {"ecd0.0.0.weight": (first, 3, 1, 1), "ecd0.0.1.bias": (first,)}
    for k, (above, below) in enumerate(itertools.pairwise(sizes), start=1):
        inputs, outputs = config.channels_at(above), config.channels_at(below)
        shapes[f"ecd{k}.0.0.kernel"] = _BLUR
        shapes[f"ecd{k}.0.1.weight"] = (outputs, inputs, 3, 3)
        shapes[f"ecd{k}.0.2.bias"] = (outputs,)
    return shapes | _linear("final_linear.0", config.channels[0] * 16, config.style_dim)


def _linear(prefix: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{prefix}.weight": (outputs, inputs), f"{prefix}.bias": (outputs,)}


def _modulated(config: Hyperparameters, prefix: str, inputs: int, outputs: int, kernel: int) -> dict[str, Shape]:
    weight: dict[str, Shape] = {f"{prefix}.weight": (1, outputs, inputs, kernel, kernel)}
    return weight | _linear(f"{prefix}.modulation", config.style_dim, inputs)


def _styled(config: Hyperparameters, prefix: str, inputs: int, outputs: int, *, up: bool = False) -> dict[str, Shape]:
    """A modulated 3×3 convolution, the weight of its features, the bias of its activation."""
    shapes = _modulated(config, f"{prefix}.conv", inputs, outputs, 3)
    if up:
        shapes[f"{prefix}.conv.blur.kernel"] = _BLUR
    shapes[f"{prefix}.noise.weight"] = (1,)
    shapes[f"{prefix}.activate.bias"] = (outputs * (2 if config.concat else 1),)
    return shapes


def _to_rgb(config: Hyperparameters, prefix: str, inputs: int, *, up: bool = False) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{prefix}.bias": (1, 3, 1, 1)}
    if up:
        shapes[f"{prefix}.upsample.kernel"] = _BLUR
    return shapes | _modulated(config, f"{prefix}.conv", inputs, 3, 1)

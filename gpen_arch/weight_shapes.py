"""The names and shapes of a GPEN's weights, written down from its config: nothing has to be built to check a file."""

from __future__ import annotations

import itertools
from typing import Protocol

Shape = tuple[int, ...]
_BLUR: Shape = (4, 4)


class Hyperparameters(Protocol):
    """What the shapes follow from; :class:`GPENConfig` has it."""

    @property
    def channels(self) -> tuple[int, ...]: ...
    @property
    def levels(self) -> tuple[int, ...]: ...
    @property
    def in_size(self) -> int: ...
    @property
    def style_dim(self) -> int: ...
    @property
    def mapping_layers(self) -> int: ...
    @property
    def concat(self) -> bool: ...
    def channels_at(self, size: int) -> int: ...


def expected_shapes(config: Hyperparameters) -> dict[str, Shape]:
    """Every key of ``GPEN(config).state_dict()`` with its shape, in the same order.

    Building the network to ask it takes over a second in a fresh process, even without memory for its weights:
    PyTorch then imports its compiler.
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
    """From the image down to 4 px, and the linear layer behind it."""
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
    """A modulated 3×3 convolution, the strength of its features, the bias of its activation."""
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

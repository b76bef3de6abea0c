"""The numbers that decide every shape of a GPEN, and their validation."""

from __future__ import annotations

import math
from dataclasses import dataclass


class ConfigError(ValueError):
    """Tensors or numbers that no GPEN has; the message names the keys that are missing, unexpected or contradictory."""


@dataclass(frozen=True)
class Hyperparameters:
    """Everything that decides the shapes of a GPEN.

    Args:
        in_size: side of the square input in pixels, a power of two, at least 8.
        out_size: side of the square output in pixels; larger than ``in_size`` only in the SR variant.
        channels: feature channels of the levels 4, 8, 16, … ``out_size`` px.
        style_dim: width of the style vector w.
        mapping_layers: depth of the mapping network.
        concat: encoder features are concatenated to the activations (GPEN) instead of added to them.

    Raises:
        ConfigError: a value is outside of its range.
    """

    in_size: int
    out_size: int
    channels: tuple[int, ...]
    style_dim: int = 512
    mapping_layers: int = 8
    concat: bool = True

    def __post_init__(self) -> None:
        for name, size in (("in_size", self.in_size), ("out_size", self.out_size)):
            if size < 8 or size & (size - 1):
                raise ConfigError(f"{name}: expected a power of two, 8 or more, got {size}")
        if self.out_size < self.in_size:
            raise ConfigError(f"out_size: expected at least in_size ({self.in_size}), got {self.out_size}")
        if len(self.channels) != len(self.levels):
            raise ConfigError(f"channels: expected {len(self.levels)} (4 to {self.out_size} px), got {self.channels}")
        for name, value in (("channels", min(self.channels)), ("style_dim", self.style_dim)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        if self.mapping_layers < 0:
            raise ConfigError(f"mapping_layers: expected 0 or more, got {self.mapping_layers}")

    @property
    def levels(self) -> tuple[int, ...]:
        """Sides of the synthesis levels in pixels: 4, 8, … ``out_size``."""
        return levels_up_to(self.out_size)

    def channels_at(self, size: int) -> int:
        """Feature channels of the level of ``size`` px."""
        return self.channels[self.levels.index(size)]


def levels_up_to(out_size: int) -> tuple[int, ...]:
    """4, 8, … ``out_size``, all in pixels."""
    return tuple(2**i for i in range(2, int(math.log2(out_size)) + 1))

"""The hyperparameters of a GPEN, read from nothing but the shapes of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .weight_shapes import expected_shapes

# Channels of a level at channel multiplier 1 and narrow 1; from 64 px on they are multiplied by the channel multiplier.
_BASE_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16, 2048: 8}
_MULTIPLIED_FROM = 64
_MAX_LEVELS = 14


class ConfigError(ValueError):
    """The tensors are not those of a GPEN; the message names the keys that are missing, extra or contradictory."""


@dataclass(frozen=True)
class GPENConfig:
    """Everything that decides the shapes of a GPEN.

    Args:
        in_size: side of the square input in pixels, a power of two, at least 8.
        out_size: side of the square output in pixels; larger than ``in_size`` in the SR variant only.
        channels: feature channels of the levels 4, 8, 16, … ``out_size`` px.
        style_dim: width of the style vector w.
        mapping_layers: depth of the mapping network.
        concat: encoder features are concatenated to the activations (GPEN) rather than added to them.

    Raises:
        ConfigError: a value that no GPEN can have.
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
                raise ConfigError(f"{name}: expected a power of two from 8 on, got {size}")
        if self.out_size < self.in_size:
            raise ConfigError(f"out_size {self.out_size} is smaller than in_size {self.in_size}; GPEN never shrinks")
        if len(self.channels) != len(self.levels):
            raise ConfigError(f"channels: expected {len(self.levels)} (4 to {self.out_size} px), got {self.channels}")
        for name, value in (("channels", min(self.channels)), ("style_dim", self.style_dim)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        if self.mapping_layers < 0:
            raise ConfigError(f"mapping_layers: expected 0 or more, got {self.mapping_layers}")

    @classmethod
    def standard(
        cls,
        size: int,
        *,
        out_size: int | None = None,
        channel_multiplier: float = 2,
        narrow: float = 1,
        style_dim: int = 512,
        mapping_layers: int = 8,
        concat: bool = True,
    ) -> GPENConfig:
        """The authors' channel table: 512·narrow up to 32 px, then halving with every level, times the multiplier."""
        out_size = out_size or size
        channels = []
        for level in _levels(out_size):
            if level not in _BASE_CHANNELS:
                raise ConfigError(f"out_size: the published channel table ends at 2048 px, got {out_size}")
            multiplier = channel_multiplier if level >= _MULTIPLIED_FROM else 1
            channels.append(int(_BASE_CHANNELS[level] * multiplier * narrow))  # the authors truncate
        return cls(size, out_size, tuple(channels), style_dim, mapping_layers, concat)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, torch.Tensor]) -> GPENConfig:
        """Read every hyperparameter from the shapes of the published keys.

        Raises:
            ConfigError: a key is missing or extra, or a shape contradicts the others; all of them are named.
        """
        encoder_levels = _count(state_dict, "ecd")
        rgb_levels = max(_count(state_dict, "generator.to_rgbs."), (_count(state_dict, "generator.convs.") + 1) // 2)
        anchors = {
            "ecd0.0.0.weight": 4,
            "ecd1.0.1.weight": 4,
            "final_linear.0.weight": 2,
            "generator.input.input": 4,
            "generator.style.1.weight": 2,
            "generator.convs.0.conv.weight": 5,
            "generator.convs.1.conv.weight": 5,
            "generator.to_rgbs.0.conv.weight": 5,
        }
        if state_dict.keys() & {"final_linear.0.weight"} and "generator.style.1.weight" not in state_dict:
            anchors.pop("generator.style.1.weight")  # a mapping network of no layers is legal
        missing = [key for key in anchors if key not in state_dict]
        if missing:
            raise ConfigError(f"not a GPEN: {_names(missing)} missing among {len(state_dict)} keys")
        for key, dims in anchors.items():
            if state_dict[key].dim() != dims:
                raise ConfigError(f"{key}: expected {dims} dimensions, got shape {tuple(state_dict[key].shape)}")

        first, second = (state_dict[f"generator.convs.{i}.conv.weight"].shape for i in (0, 1))
        if second[2] not in (first[1], 2 * first[1]):
            raise ConfigError(
                f"generator.convs.1.conv.weight takes {second[2]} channels; expected {first[1]} (features added) or "
                f"{2 * first[1]} (features concatenated) after generator.convs.0.conv.weight's {first[1]}"
            )
        channels = [state_dict["generator.input.input"].shape[1]]
        for i in range(rgb_levels):
            weight = state_dict.get(f"generator.convs.{2 * i}.conv.weight")  # where it is missing, _check names it
            channels.append(channels[-1] if weight is None or weight.dim() != 5 else weight.shape[1])
        if rgb_levels > _MAX_LEVELS or encoder_levels > _MAX_LEVELS:
            raise ConfigError(f"{encoder_levels} encoder and {rgb_levels} synthesis levels: no GPEN is that deep")
        config = cls(
            in_size=2 ** (encoder_levels + 1),
            out_size=2 ** (rgb_levels + 2),
            channels=tuple(int(c) for c in channels),
            style_dim=int(state_dict["final_linear.0.weight"].shape[0]),
            mapping_layers=max(_count(state_dict, "generator.style.") - 1, 0),  # index 0 is the pixel norm
            concat=bool(second[2] == 2 * first[1]),
        )
        config._check(state_dict)
        return config

    @property
    def levels(self) -> tuple[int, ...]:
        """Sides of the synthesis levels in pixels: 4, 8, … ``out_size``."""
        return _levels(self.out_size)

    @property
    def narrow(self) -> float:
        """Width relative to the published models, for display."""
        return self.channels[0] / _BASE_CHANNELS[4]

    @property
    def channel_multiplier(self) -> float | None:
        """The authors' channel multiplier, for display; None below 64 px, where no level shows it."""
        if self.out_size < _MULTIPLIED_FROM:
            return None
        return self.channels[self.levels.index(_MULTIPLIED_FROM)] / (_BASE_CHANNELS[_MULTIPLIED_FROM] * self.narrow)

    def channels_at(self, size: int) -> int:
        """Feature channels of the level of ``size`` px."""
        return self.channels[self.levels.index(size)]

    def _check(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Hold every key and shape of ``state_dict`` against those of the network that this config describes."""
        expected = expected_shapes(self)
        missing = [key for key in expected if key not in state_dict]
        extra = [key for key in state_dict if key not in expected]
        wrong = [
            f"{key} is {tuple(state_dict[key].shape)} where {shape} fits"
            for key, shape in expected.items()
            if key in state_dict and tuple(state_dict[key].shape) != shape
        ]
        said = [f"{_names(keys)} {what}" for keys, what in ((missing, "missing"), (extra, "not part of it")) if keys]
        if wrong:
            said.append("; ".join(wrong[:4]) + (f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""))
        if said:
            size = f"{self.in_size}" if self.in_size == self.out_size else f"{self.in_size}->{self.out_size}"
            raise ConfigError(f"not a complete GPEN of {size} px: {'; '.join(said)}")


def _levels(out_size: int) -> tuple[int, ...]:
    return tuple(2**i for i in range(2, int(math.log2(out_size)) + 1))


def _count(state_dict: Mapping[str, torch.Tensor], prefix: str) -> int:
    """Highest index behind ``prefix``, plus one: a gap then shows as a missing key, not as a smaller net."""
    indexes = {key[len(prefix) :].split(".", 1)[0] for key in state_dict if key.startswith(prefix)}
    return max((int(index) + 1 for index in indexes if index.isdecimal() and len(index) < 3), default=0)


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:6]) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")

"""A GPEN's configuration, read from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .hyperparameters import ConfigError, Hyperparameters, levels_up_to
from .weight_shapes import expected_shapes

__all__ = ["ConfigError", "GPENConfig"]

# Channels per level at channel multiplier 1 and narrow 1; from 64 px on they are multiplied by the channel multiplier.
_BASE_CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32, 1024: 16, 2048: 8}
_MULTIPLIED_FROM = 64
_MAX_LEVELS = 14
# Keys that every GPEN has, with the number of dimensions of their tensors; the configuration is read from these.
_ANCHORS = {
    "ecd0.0.0.weight": 4,
    "ecd1.0.1.weight": 4,
    "final_linear.0.weight": 2,
    "generator.input.input": 4,
    "generator.convs.0.conv.weight": 5,
    "generator.convs.1.conv.weight": 5,
    "generator.to_rgbs.0.conv.weight": 5,
}


@dataclass(frozen=True)
class GPENConfig(Hyperparameters):
    """The hyperparameters of a GPEN (see :class:`Hyperparameters`), from a state dict or from the authors' table."""

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
        """The authors' channel table: 512·narrow up to 32 px, then halved per level, times the multiplier."""
        out_size = out_size or size
        channels = []
        for level in levels_up_to(out_size):
            if level not in _BASE_CHANNELS:
                raise ConfigError(f"out_size: the published channel table ends at 2048 px, got {out_size}")
            multiplier = channel_multiplier if level >= _MULTIPLIED_FROM else 1
            channels.append(int(_BASE_CHANNELS[level] * multiplier * narrow))  # the authors truncate
        return cls(size, out_size, tuple(channels), style_dim, mapping_layers, concat)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, torch.Tensor]) -> GPENConfig:
        """The configuration that the shapes of the published keys imply.

        Raises:
            ConfigError: keys are missing or unexpected, or a shape contradicts the others; the message names them.
        """
        encoder_levels = _count(state_dict, "ecd")
        rgb_levels = max(_count(state_dict, "generator.to_rgbs."), (_count(state_dict, "generator.convs.") + 1) // 2)
        _check_anchors(state_dict)
        first, second = (state_dict[f"generator.convs.{i}.conv.weight"].shape for i in (0, 1))
        if second[2] not in (first[1], 2 * first[1]):
            raise ConfigError(
                f"generator.convs.1.conv.weight: expected {first[1]} input channels (features added) or "
                f"{2 * first[1]} (features concatenated), as generator.convs.0 has {first[1]} outputs; got {second[2]}"
            )
        channels = [state_dict["generator.input.input"].shape[1]]
        for i in range(rgb_levels):
            weight = state_dict.get(f"generator.convs.{2 * i}.conv.weight")  # if missing, _check names it
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
    def narrow(self) -> float:
        """Width relative to the published models, for display."""
        return self.channels[0] / _BASE_CHANNELS[4]

    @property
    def channel_multiplier(self) -> float | None:
        """The authors' channel multiplier, for display; None below 64 px, where it has no effect."""
        if self.out_size < _MULTIPLIED_FROM:
            return None
        return self.channels[self.levels.index(_MULTIPLIED_FROM)] / (_BASE_CHANNELS[_MULTIPLIED_FROM] * self.narrow)

    def _check(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Raise unless ``state_dict`` has exactly the keys and shapes of this configuration."""
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


def _check_anchors(state_dict: Mapping[str, torch.Tensor]) -> None:
    anchors = dict(_ANCHORS)
    if "final_linear.0.weight" not in state_dict or "generator.style.1.weight" in state_dict:
        anchors["generator.style.1.weight"] = 2  # a GPEN without mapping layers is valid
    missing = [key for key in anchors if key not in state_dict]
    if missing:
        raise ConfigError(f"not a GPEN: {_names(missing)} missing among {len(state_dict)} keys")
    for key, dims in anchors.items():
        if state_dict[key].dim() != dims:
            raise ConfigError(f"{key}: expected {dims} dimensions, got shape {tuple(state_dict[key].shape)}")


def _count(state_dict: Mapping[str, torch.Tensor], prefix: str) -> int:
    """Highest index after ``prefix``, plus one: a gap then shows as a missing key, not as a smaller network."""
    indexes = {key[len(prefix) :].split(".", 1)[0] for key in state_dict if key.startswith(prefix)}
    return max((int(index) + 1 for index in indexes if index.isdecimal() and len(index) < 3), default=0)


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:6]) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")

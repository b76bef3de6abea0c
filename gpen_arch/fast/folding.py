"""Weights of a published state dict with all constant factors folded in, for the fast engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .resampling import is_the_blur

SQRT2 = math.sqrt(2)
_MAPPING_LR = 0.01
_CHANNELS_LAST: dict[str, Any] = {
    "memory_format": torch.channels_last, "dtype": torch.float32, "device": "cpu",
}  # fmt: skip


def why_declined(state_dict: Mapping[str, torch.Tensor]) -> str | None:
    """Why these weights cannot be folded, or None: the cheap forms of resampling are those of [1,3,3,1] only."""
    for key in state_dict:  # not .items(): the mapping may create tensors on access
        if key.endswith(".kernel") and not is_the_blur(state_dict[key], 1 if key.startswith("ecd") else 4):
            return f"{key} is not the blur [1,3,3,1] of the published models"
    return None


class FoldedWeights:
    """Weights of a state dict with learning rates and gains folded in, on the CPU.

    Every result has its own memory and is written in one pass where possible: touching fresh memory is what loading
    the published sizes spends its time on. The gain sqrt(2) of a leaky ReLU is moved in front of it, into weight and
    bias, which is exact for a ReLU of any slope.
    """

    def __init__(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        self._state_dict = state_dict

    def scaled(self, key: str, factor: float = 1) -> torch.Tensor:
        """A tensor times a number, float32."""
        return self._source(key) * factor

    def linear(self, prefix: str, *, lr_mul: float = 1, gain: float = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """An equalised linear: [O,I], [O] float32."""
        inputs = self._source(f"{prefix}.weight").shape[1]
        weight = self.scaled(f"{prefix}.weight", gain * lr_mul / math.sqrt(inputs))
        return weight, self.scaled(f"{prefix}.bias", gain * lr_mul)

    def linears(self, prefixes: Sequence[str]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Equalised linears with the same input, stacked: [sum of O,I] float32; their biases, [O] each."""
        sources = [self._source(f"{prefix}.weight") for prefix in prefixes]
        rows = sum(len(source) for source in sources)
        matrix = torch.empty(rows, sources[0].shape[1], dtype=torch.float32, device="cpu")
        for source, part in zip(sources, matrix.split([len(source) for source in sources]), strict=True):
            torch.mul(source, 1 / math.sqrt(source.shape[1]), out=part)  # in place: no concatenation
        return matrix, [self._source(f"{prefix}.bias") for prefix in prefixes]

    def mapping(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Layer ``index`` (from 1) of the mapping network, with its gain: [O,I], [O] float32."""
        return self.linear(f"generator.style.{index}", lr_mul=_MAPPING_LR, gain=SQRT2)

    def bias(self, key: str) -> torch.Tensor:
        """The bias of an activation, with the gain of that activation: [C] float32."""
        return self.scaled(key, SQRT2)

    def conv(self, key: str, dtype: torch.dtype, *, channels_last: bool = True, gain: float = SQRT2) -> torch.Tensor:
        """The weight of a convolution, with the gain of the activation after it: [O,I,K,K].

        The leading axis of 1 of a modulated convolution is dropped.
        """
        return self._product(key, gain, channels_last=channels_last).to(dtype)

    def demodulated(
        self, key: str, dtype: torch.dtype, *, transposed: bool = False, channels_last: bool = True, gain: float = SQRT2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weight of a modulated convolution and what its demodulation needs.

        Returns:
            The weight [O,I,K,K], or [I,O,K,K] with ``transposed``, with the gain; the sums of squares [O,I] float32
            over the taps of the equalised weight, without the gain.
        """
        product = self._product(key, gain, transposed=transposed, channels_last=channels_last)
        # tap by tap: in channels-last memory five times as fast as a norm over the taps
        first, *others = product.flatten(2).unbind(2)
        squares = first.square()
        for tap in others:
            squares.addcmul_(tap, tap)
        squares.mul_(1 / gain**2)
        return product.to(dtype), (squares.t() if transposed else squares).contiguous()

    def _product(self, key: str, gain: float, *, transposed: bool = False, channels_last: bool = True) -> torch.Tensor:
        """The equalised weight times the gain, in float32."""
        source = self._kernel(key)
        factor = gain / math.sqrt(source[0].numel())
        if not channels_last:
            return (source.transpose(0, 1) if transposed else source) * factor
        o, i, height, width = source.shape
        if transposed:
            out = torch.empty(i, o, height, width, **_CHANNELS_LAST)
            # a plain matrix transposition: twice as fast as any other way of moving these axes
            matrix = out.permute(0, 2, 3, 1).view(-1, o)
            matrix.copy_(source.reshape(o, -1).t()).mul_(factor)
            return out
        out = torch.empty(source.shape, **_CHANNELS_LAST)
        return torch.mul(source, factor, out=out)

    def _source(self, key: str) -> torch.Tensor:
        """The tensor in float32 on the CPU, uncopied where it already is: do not write to it or keep it."""
        return self._state_dict[key].detach().to("cpu", torch.float32)

    def _kernel(self, key: str) -> torch.Tensor:
        source = self._source(key)
        return source[0] if source.dim() == 5 else source

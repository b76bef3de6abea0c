"""From a published state dict to the tensors that the fast engine works with: everything constant multiplied in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from .resampling import is_the_blur

SQRT2 = math.sqrt(2)
_MAPPING_LR = 0.01


def why_not(state_dict: Mapping[str, torch.Tensor]) -> str | None:
    """Why these weights cannot be folded, or None where they can: only [1,3,3,1] blurs have the cheap forms."""
    for key in state_dict:  # not its items: a mapping may make its tensors when they are asked for
        if key.endswith(".kernel") and not is_the_blur(state_dict[key], 1 if key.startswith("ecd") else 4):
            return f"{key} is not the blur [1,3,3,1] of the published models, the only one that its resampling knows"
    return None


class Folder:
    """Reads weights from a state dict, ready to use: learning rates and gains multiplied in, on the CPU.

    Every result is memory of its own, written in one pass where that is possible: with the published sizes it is
    the touching of fresh memory that loading takes its time for. A leaky ReLU's gain of sqrt(2) is moved in front of
    it, into weight and bias, which a ReLU of any slope allows.
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
        """Equalised linears of the same input, one below the other: [sum of O,I] float32; their biases, [O] each."""
        sources = [self._source(f"{prefix}.weight") for prefix in prefixes]
        matrix = torch.empty(sum(len(source) for source in sources), sources[0].shape[1])
        for source, part in zip(sources, matrix.split([len(source) for source in sources]), strict=True):
            torch.mul(source, 1 / math.sqrt(source.shape[1]), out=part)  # not copied together afterwards
        return matrix, [self._source(f"{prefix}.bias") for prefix in prefixes]

    def mapping(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Layer ``index`` (from 1) of the mapping network with its gain."""
        return self.linear(f"generator.style.{index}", lr_mul=_MAPPING_LR, gain=SQRT2)

    def bias(self, key: str) -> torch.Tensor:
        """The bias of an activation with that activation's gain: [C] float32."""
        return self.scaled(key, SQRT2)

    def conv(self, key: str, dtype: torch.dtype, *, channels_last: bool = True, gain: float = SQRT2) -> torch.Tensor:
        """A convolution's weight [O,I,K,K] with the gain of the activation behind it.

        A modulated convolution's leading axis of one is dropped.
        """
        return self._product(key, gain, channels_last=channels_last).to(dtype)

    def demodulated(
        self, key: str, dtype: torch.dtype, *, transposed: bool = False, channels_last: bool = True, gain: float = SQRT2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A modulated convolution's weight and what its demodulation needs.

        Returns:
            The weight [O,I,K,K], or [I,O,K,K] with ``transposed``, with the gain; the sums of squares [O,I] float32
            over the taps of the equalised weight, without the gain.
        """
        product = self._product(key, gain, transposed=transposed, channels_last=channels_last)
        # tap by tap: with the channels last that is five times as fast as a norm over the taps
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
            out = torch.empty(i, o, height, width, memory_format=torch.channels_last)
            # as a plain transposition of a matrix, which is twice as fast as any other way of moving these axes
            matrix = out.permute(0, 2, 3, 1).view(-1, o)
            matrix.copy_(source.reshape(o, -1).t()).mul_(factor)
            return out
        out = torch.empty(source.shape, memory_format=torch.channels_last)
        return torch.mul(source, factor, out=out)

    def _source(self, key: str) -> torch.Tensor:
        """The tensor itself where it is float32 on the CPU: never to be written to or kept."""
        return self._state_dict[key].detach().to("cpu", torch.float32)

    def _kernel(self, key: str) -> torch.Tensor:
        source = self._source(key)
        return source[0] if source.dim() == 5 else source

"""From a published state dict to the tensors that the fast engine works with: everything constant multiplied in."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from .kernels import is_the_blur

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

    def mapping(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Layer ``index`` (from 1) of the mapping network with its gain."""
        return self.linear(f"generator.style.{index}", lr_mul=_MAPPING_LR, gain=SQRT2)

    def bias(self, key: str) -> torch.Tensor:
        """The bias of an activation with that activation's gain: [C] float32."""
        return self.scaled(key, SQRT2)

    def conv(
        self, key: str, dtype: torch.dtype, *, transposed: bool = False, channels_last: bool = True, gain: float = SQRT2
    ) -> torch.Tensor:
        """A convolution's weight with the gain of the activation behind it.

        [O,I,K,K], or [I,O,K,K] with ``transposed``; a modulated convolution's leading axis of one is dropped.
        """
        source = self._kernel(key)
        factor = gain * self._equaliser(source)
        if not channels_last:
            source = source.transpose(0, 1) if transposed else source
            return (source * factor).to(dtype)
        o, i, height, width = source.shape
        if transposed:
            out = torch.empty(i, o, height, width, memory_format=torch.channels_last)
            # as a plain transposition of a matrix, which is twice as fast as any other way of moving these axes
            matrix = out.permute(0, 2, 3, 1).view(-1, o)
            matrix.copy_(source.reshape(o, -1).t()).mul_(factor)
        else:
            out = torch.empty(source.shape, memory_format=torch.channels_last)
            torch.mul(source, factor, out=out)
        return out.to(dtype)

    def squares(self, key: str) -> torch.Tensor:
        """What demodulation needs: the sums of squares [O,I] over the taps of an equalised weight, without the gain."""
        source = self._kernel(key)
        return torch.linalg.vector_norm(source, dim=(2, 3)).mul_(self._equaliser(source)).square_()

    def _source(self, key: str) -> torch.Tensor:
        """The tensor itself where it is float32 on the CPU: never to be written to or kept."""
        return self._state_dict[key].detach().to("cpu", torch.float32)

    def _kernel(self, key: str) -> torch.Tensor:
        source = self._source(key)
        return source[0] if source.dim() == 5 else source

    @staticmethod
    def _equaliser(weight: torch.Tensor) -> float:
        return 1 / math.sqrt(weight[0].numel())

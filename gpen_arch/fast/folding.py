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
    for key, value in state_dict.items():
        if key.endswith(".kernel") and not is_the_blur(value, 1 if key.startswith("ecd") else 4):
            return f"{key} is not the blur [1,3,3,1] of the published models, the only one that its resampling knows"
    return None


class Folder:
    """Reads weights from a state dict as float32 on the CPU, ready to use: learning rates and gains multiplied in.

    A leaky ReLU's gain of √2 is moved in front of it, into weight and bias, which a ReLU of any slope allows.
    """

    def __init__(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        self._state_dict = state_dict

    def raw(self, key: str) -> torch.Tensor:
        """A float32 copy on the CPU, never an alias of the caller's tensor."""
        return self._state_dict[key].detach().to("cpu", torch.float32, copy=True)

    def linear(self, prefix: str, *, lr_mul: float = 1, gain: float = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """An equalised linear: [O,I], [O]."""
        weight = self.raw(f"{prefix}.weight")
        return weight.mul_(gain * lr_mul / math.sqrt(weight.shape[1])), self.raw(f"{prefix}.bias").mul_(gain * lr_mul)

    def mapping(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Layer ``index`` (from 1) of the mapping network with its gain."""
        return self.linear(f"generator.style.{index}", lr_mul=_MAPPING_LR, gain=SQRT2)

    def conv(self, key: str) -> torch.Tensor:
        """An encoder's convolution with the gain of the activation behind it: [O,I,K,K]."""
        return self._equalised(self.raw(key)).mul_(SQRT2)

    def bias(self, key: str) -> torch.Tensor:
        """The bias of an activation with that activation's gain: [C]."""
        return self.raw(key).mul_(SQRT2)

    def modulated(self, prefix: str) -> tuple[torch.Tensor, torch.Tensor]:
        """A modulated convolution: weight [O,I,K,K], without the gain, and sums of squares [O,I] of its taps."""
        weight = self._equalised(self.raw(f"{prefix}.conv.weight")[0])
        return weight, weight.square().sum(dim=(2, 3))

    def styled(self, prefix: str, channels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same and the bias [channels] of the activation behind it, its gain included."""
        return *self.modulated(prefix), self.bias(f"{prefix}.activate.bias")[:channels].clone()

    @staticmethod
    def _equalised(weight: torch.Tensor) -> torch.Tensor:
        return weight.mul_(1 / math.sqrt(weight[0].numel()))

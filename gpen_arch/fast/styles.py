"""From the encoder's vector to the styles of all modulated convolutions, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ..tf32 import linear
from .folding import FoldedWeights


class Dense(nn.Module):
    """A linear layer with all factors folded in, and a leaky ReLU if ``activate``; never in TF32."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, activate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.activate = activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,I] -> [N,O] in the weights' dtype."""
        x = linear(x.to(self.weight.dtype), self.weight, self.bias)
        return F.leaky_relu(x, 0.2) if self.activate else x


class Styles(nn.Module):
    """The mapping network, then the modulations of all convolutions as one matrix."""

    def __init__(self, weights: FoldedWeights, mapping_layers: int, prefixes: Sequence[str]) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*(Dense(*weights.mapping(i + 1)) for i in range(mapping_layers)))
        weight, biases = weights.linears([f"{prefix}.conv.modulation" for prefix in prefixes])
        self.widths = [bias.numel() for bias in biases]
        self.modulation = Dense(weight, torch.cat(biases), activate=False)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """z [N,style] -> one [N,I] float32 per convolution, in the order of the prefixes."""
        z = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        return self.modulation(self.mapping(z)).float().split(self.widths, dim=1)

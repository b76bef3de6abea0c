"""A modulated convolution that scales either its weights or its activations, whichever are fewer."""

from __future__ import annotations

import torch
from torch import nn

from ..ops import normalized_style
from ..tf32 import conv2d, conv_transpose2d, matmul
from . import resampling
from .folding import SQRT2, FoldedWeights
from .resampling import blur_columns, blur_rows, blur_taps, upsampling_phases


class ModulatedConv(nn.Module):
    """Modulation, 3×3 convolution, demodulation and the gain sqrt(2) of the activation that follows.

    Rows come with their neighbours above and below, so there is padding to the left and right only.

    Args:
        prefix: of its keys.
        channels: O; the bias of the activation that follows may be longer.
        dtype: of the activations.
        tf32: whether float32 convolutions may run in TF32.
        up: transposed convolution of stride 2, then a blur.
        scale_weights: modulate the weights instead of the activations: one convolution per batch entry.
    """

    taps: torch.Tensor

    def __init__(
        self,
        weights: FoldedWeights,
        prefix: str,
        channels: int,
        dtype: torch.dtype,
        tf32: bool,
        *,
        up: bool,
        scale_weights: bool,
    ) -> None:
        super().__init__()
        key = f"{prefix}.conv.weight"
        if scale_weights:  # scaled anew in every call: [O,I,3,3] in float32, without the gain
            weight, squares = weights.demodulated(key, torch.float32, channels_last=False, gain=1)
        else:
            weight, squares = weights.demodulated(key, dtype, transposed=up)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.squares = nn.Parameter(squares, requires_grad=False)  # [O,I]
        bias = weights.bias(f"{prefix}.activate.bias")[:channels]
        self.bias = nn.Parameter(bias.to(dtype, copy=True), requires_grad=False)
        self.register_buffer("taps", blur_taps(dtype))
        self.tf32 = tf32
        self.up = up
        self.scale_weights = scale_weights

    def prepare(self, style: torch.Tensor, *, alternating: bool = False) -> Prepared:
        """The convolution for these styles: [N,I] float32; N is 1 with ``scale_weights``.

        ``alternating``: the windows alternate the rows of two maps (:func:`resampling.alternates_rows`); only with
        ``scale_weights`` and without ``up``.
        """
        dtype = self.bias.dtype
        if not self.scale_weights:
            epsilon = 1e-8
            if dtype == torch.float16:  # its activations times a large style would overflow
                style, epsilon = normalized_style(style)
            demodulation = self._demodulation(style, epsilon)
            return Prepared(self, self.weight, style.to(dtype), demodulation.to(dtype))
        demodulation = self._demodulation(style, 1e-8)
        weight = self.weight * (SQRT2 * demodulation.t() * style)[:, :, None, None]
        phases = self.up and resampling.merges_blurs(weight.device)
        if phases:
            weight = upsampling_phases(weight, self.taps.float())
        elif self.up:
            weight = weight.transpose(0, 1)
        elif alternating:
            weight = resampling.over_alternating_rows(weight)
        return Prepared(self, weight.to(dtype, memory_format=torch.channels_last), None, None, phases)

    def _demodulation(self, style: torch.Tensor, epsilon: torch.Tensor | float) -> torch.Tensor:
        """[N,I] -> [N,O], both float32."""
        return torch.rsqrt(matmul(style.square(), self.squares.t().float()) + epsilon)


class Prepared:
    """A modulated convolution with its style applied; lives for one call of the engine."""

    def __init__(
        self,
        conv: ModulatedConv,
        weight: torch.Tensor,
        style: torch.Tensor | None,
        demodulation: torch.Tensor | None,
        phases: bool = False,
    ) -> None:
        self._conv = conv
        self._weight = weight
        self._style = style
        self._demodulation = demodulation
        self._phases = phases

    def __call__(self, window: torch.Tensor) -> torch.Tensor:
        """[N,n+2,W,I] (or [N,n+2,2,W,I/2]) -> [N,n,W,O], or [N,2n,2W,O] with ``up``; bias added, not activated."""
        bias = self._conv.bias
        if window.dim() == 5:
            x = window.flatten(1, 2).permute(0, 3, 1, 2)  # [N,I/2,2n+4,W], channels last
            y = conv2d(x, self._weight, bias, stride=(2, 1), padding=(0, 1), tf32=self._conv.tf32)
            return y.permute(0, 2, 3, 1)
        x = window.permute(0, 3, 1, 2)  # [N,I,n+2,W], channels last
        if self._style is None:
            return self._convolve(x, bias)
        assert self._demodulation is not None
        y = self._convolve(x * self._style[:, :, None, None], None)
        return torch.addcmul(bias, y, self._demodulation[:, None, None])

    def _convolve(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        conv = self._conv
        if not conv.up:
            return conv2d(x, self._weight, bias, padding=(0, 1), tf32=conv.tf32).permute(0, 2, 3, 1)
        if self._phases:
            four = bias.repeat(4) if bias is not None else None
            y = conv2d(x, self._weight, four, padding=(0, 1), tf32=conv.tf32)
            return _interleave(y.permute(0, 2, 3, 1))
        taps = conv.taps * 2  # the gain of 4 after an upsampling, half of it per axis
        y = conv_transpose2d(x, self._weight, stride=(2, 2), padding=(1, 0), tf32=conv.tf32)  # [N,O,2n+3,2W+1]
        return blur_rows(blur_columns(y, taps, pad=1), taps, bias).permute(0, 2, 3, 1)


def _interleave(phases: torch.Tensor) -> torch.Tensor:
    """[N,n,W,4·O] with the phases (row, column) before the channels -> [N,2n,2W,O]."""
    n, height, width, channels = phases.shape
    y = phases.view(n, height, width, 2, 2, channels // 4).transpose(2, 3)
    return y.reshape(n, 2 * height, 2 * width, channels // 4)

"""A modulated convolution that scales either its weights or its activations, whichever are fewer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from . import resampling
from .folding import SQRT2, Folder
from .resampling import blur_columns, blur_rows, blur_taps, upsampling_phases


class ModulatedConv(nn.Module):
    """Modulation, 3×3 convolution, demodulation and the gain sqrt(2) of the activation that follows.

    Rows come with their neighbours above and below, so there is no padding downwards; sideways there is.

    Args:
        prefix: of its keys; ``channels``: O, where the bias of the activation behind it may be longer.
        dtype: of the activations.
        up: the convolution is transposed with stride 2 and a blur follows.
        scale_weights: modulate weights rather than activations: a batch is then one convolution an entry.
    """

    taps: torch.Tensor

    def __init__(
        self, folder: Folder, prefix: str, channels: int, dtype: torch.dtype, *, up: bool, scale_weights: bool
    ) -> None:
        super().__init__()
        key = f"{prefix}.conv.weight"
        if scale_weights:  # at every call anew: [O,I,3,3] in float32, without the gain
            weight, squares = folder.demodulated(key, torch.float32, channels_last=False, gain=1)
        else:
            weight, squares = folder.demodulated(key, dtype, transposed=up)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.squares = nn.Parameter(squares, requires_grad=False)  # [O,I]
        bias = folder.bias(f"{prefix}.activate.bias")[:channels]
        self.bias = nn.Parameter(bias.to(dtype, copy=True), requires_grad=False)
        self.register_buffer("taps", blur_taps(dtype))
        self.up = up
        self.scale_weights = scale_weights

    def prepare(self, style: torch.Tensor, *, alternating: bool = False) -> Prepared:
        """[N,I] float32 -> what one pass over the rows needs; N is 1 where the weights are scaled.

        ``alternating``: the windows alternate the rows of two maps (:func:`resampling.alternates_rows`); only for
        scaled weights and without ``up``.
        """
        demodulation = torch.rsqrt(style.square() @ self.squares.t().float() + 1e-8)  # [N,O]
        if not self.scale_weights:
            return Prepared(self, self.weight, style.to(self.bias.dtype), demodulation.to(self.bias.dtype))
        weight = self.weight * (SQRT2 * demodulation.t() * style)[:, :, None, None]
        phases = self.up and resampling.merges_blurs(weight.device)
        if phases:
            weight = upsampling_phases(weight, self.taps.float())
        elif self.up:
            weight = weight.transpose(0, 1)
        elif alternating:
            weight = resampling.over_alternating_rows(weight)
        return Prepared(self, weight.to(self.bias.dtype, memory_format=torch.channels_last), None, None, phases)


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
        """[N,n+2,W,I] (or [N,n+2,2,W,I/2]) -> [N,n,W,O], or [N,2n,2W,O] with ``up``; bias added, not yet activated."""
        if window.dim() == 5:
            x = window.flatten(1, 2).permute(0, 3, 1, 2)  # [N,I/2,2n+4,W], channels last
            y = F.conv2d(x, self._weight, self._conv.bias, stride=(2, 1), padding=(0, 1))
            return y.permute(0, 2, 3, 1)
        x = window.permute(0, 3, 1, 2)  # [N,I,n+2,W], channels last
        bias = self._conv.bias
        if self._style is None:
            return self._convolve(x, bias)
        assert self._demodulation is not None
        y = self._convolve(x * self._style[:, :, None, None], None)
        return torch.addcmul(bias, y, self._demodulation[:, None, None])

    def _convolve(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        conv = self._conv
        if not conv.up:
            return F.conv2d(x, self._weight, bias, padding=(0, 1)).permute(0, 2, 3, 1)
        if self._phases:
            y = F.conv2d(x, self._weight, bias.repeat(4) if bias is not None else None, padding=(0, 1))
            return _interleave(y.permute(0, 2, 3, 1))
        taps = conv.taps * 2  # the gain of 4 that follows an upsampling, a half of it on each axis
        y = F.conv_transpose2d(x, self._weight, stride=2, padding=(1, 0))  # [N,O,2n+3,2W+1]
        return blur_rows(blur_columns(y, taps, pad=1), taps, bias).permute(0, 2, 3, 1)


def _interleave(phases: torch.Tensor) -> torch.Tensor:
    """[N,n,W,4·O] with the phases (row, column) in front of the channels -> [N,2n,2W,O]."""
    n, height, width, channels = phases.shape
    y = phases.view(n, height, width, 2, 2, channels // 4).transpose(2, 3)
    return y.reshape(n, 2 * height, 2 * width, channels // 4)

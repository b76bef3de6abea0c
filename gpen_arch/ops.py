"""The network's elementary operations, written for reading: the slow twin of every fast path."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

SQRT2 = math.sqrt(2)


def upfirdn2d(
    x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Insert zeros, pad, convolve with a FIR kernel, keep every ``down``-th pixel.

    Args:
        x: [N,C,H,W].
        kernel: [K,K], a true convolution kernel (it is flipped before the correlation).
        up, down: integer factors.
        pad: pixels added before and after, on both axes alike, at the upsampled rate.

    Returns:
        [N,C,H',W'] with H' = (H·up + pad[0] + pad[1] - K) // down + 1.

    Source: StyleGAN2 (Karras et al. 2020), resampling with ``[1,3,3,1]``.
    """
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, (pad[0], pad[1], pad[0], pad[1]))
    weight = kernel.to(x.dtype).flip(0, 1)[None, None].expand(c, 1, -1, -1)  # [C,1,K,K]
    return F.conv2d(x, weight, stride=down, groups=c)


def fir_kernel(gain: float = 1) -> torch.Tensor:
    """The [4,4] blur kernel [1,3,3,1](x)[1,3,3,1], summing to ``gain`` (4 where it follows an upsampling by 2)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = taps[:, None] * taps[None, :]
    return kernel * (gain / kernel.sum())


def biased_leaky_relu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``leaky_relu(x + bias, 0.2) · sqrt(2)``: the gain keeps unit variance. ``bias`` is [C] for [N,C] or [N,C,H,W]."""
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.dim() - 2)), 0.2) * SQRT2


def pixel_norm(x: torch.Tensor) -> torch.Tensor:
    """Scale every vector of [N,C] to a root mean square of one: ``x · rsqrt(mean(x²) + 1e-8)``."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def modulated_conv2d(
    x: torch.Tensor, weight: torch.Tensor, style: torch.Tensor, *, demodulate: bool = True, up: bool = False
) -> torch.Tensor:
    """Convolve with weights that every sample scales by its own style.

    Modulation commutes with the convolution, so the activations are scaled before it and the result after it, and
    one set of weights serves the whole batch.

    Args:
        x: [N,I,H,W].
        weight: [O,I,K,K], the learned weight with its equalised learning rate already applied.
        style: [N,I], one factor an input channel.
        demodulate: divide every output channel by the norm of its modulated weights.
        up: transposed convolution with stride 2 and no padding.

    Returns:
        [N,O,H,W], or [N,O,2H+1,2W+1] (for K = 3) with ``up``.

    Source: StyleGAN2 (Karras et al. 2020), section 2.2 and appendix B.
    """
    x = x * style[:, :, None, None].to(x.dtype)
    if up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2)
    else:
        x = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
    if demodulate:
        norms = weight.square().sum(dim=(2, 3)) @ style.square().t()  # [O,N]
        x = x * torch.rsqrt(norms.t() + 1e-8)[:, :, None, None].to(x.dtype)
    return x

"""The elementary operations of the network, written to be read: the slow reference of every fast path."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

SQRT2 = math.sqrt(2)


def upfirdn2d(
    x: torch.Tensor, kernel: torch.Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    """Upsample with zeros, pad, convolve with a FIR kernel, keep every ``down``-th pixel.

    Args:
        x: [N,C,H,W].
        kernel: [K,K], a true convolution kernel (it is flipped before the correlation).
        up, down: integer factors.
        pad: pixels added before and after, on both axes, at the upsampled rate.

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
    """The blur kernel [1,3,3,1](x)[1,3,3,1] as [4,4] float32, summing to ``gain`` (4 after an upsampling by 2)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float32)
    kernel = taps[:, None] * taps[None, :]
    return kernel * (gain / kernel.sum())


def biased_leaky_relu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``leaky_relu(x + bias, 0.2) · sqrt(2)`` for [N,C] or [N,C,H,W], ``bias`` [C]; the gain keeps unit variance."""
    return F.leaky_relu(x + bias.view(1, -1, *[1] * (x.dim() - 2)), 0.2) * SQRT2


def pixel_norm(x: torch.Tensor) -> torch.Tensor:
    """``x · rsqrt(mean(x²) + 1e-8)`` per vector of [N,C]: a root mean square of one."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def modulated_conv2d(
    x: torch.Tensor, weight: torch.Tensor, style: torch.Tensor, *, demodulate: bool = True, up: bool = False
) -> torch.Tensor:
    """Convolve with weights that are scaled per sample by its style (StyleGAN2's modulated convolution).

    Modulation commutes with the convolution: scaling the activations before and the result after it lets the whole
    batch share one weight.

    Args:
        x: [N,I,H,W].
        weight: [O,I,K,K], with its equalised learning rate already applied.
        style: [N,I], one factor per input channel.
        demodulate: divide every output channel by the norm of its modulated weights.
        up: transposed convolution with stride 2 and no padding.

    Returns:
        [N,O,H,W], or [N,O,2H+1,2W+1] (for K = 3) with ``up``, in the dtype of ``x``. Demodulation is computed in
        float32 at least: the square of a float16 style overflows from 256 on.

    Source: StyleGAN2 (Karras et al. 2020), section 2.2 and appendix B; StyleGAN3's code for the float16 part.
    """
    wide = torch.promote_types(style.dtype, torch.float32)
    style, epsilon = style.to(wide), 1e-8
    if demodulate and x.dtype == torch.float16:
        style, epsilon = normalized_style(style)
    x = x * style[:, :, None, None].to(x.dtype)
    if up:
        x = F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2)
    else:
        x = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
    if demodulate:
        norms = style.square() @ weight.to(wide).square().sum(dim=(2, 3)).t()  # [N,O]
        x = x * torch.rsqrt(norms + epsilon)[:, :, None, None].to(x.dtype)
    return x


def normalized_style(style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Styles [N,I] divided by their largest magnitude per sample, and the epsilon [N,1] of their demodulation.

    Demodulation cancels any factor of a style, so the result is the same and float16 rarely overflows. Its epsilon of
    1e-8 has to be divided by the square of that factor.
    """
    largest = style.abs().amax(dim=1, keepdim=True).clamp_min(1e-4)  # an all-zero style stays zero
    return style / largest, 1e-8 / largest.square()

"""Resampling by [1,3,3,1] in cheap forms: separable, or merged into the adjacent convolution."""

from __future__ import annotations

import torch

from ..tf32 import conv2d

_TAPS = (1.0, 3.0, 3.0, 1.0)


def blur_taps(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[1,3,3,1]/8 as [4] on the CPU; modules keep it as a buffer, so that no call uploads it."""
    return torch.tensor(_TAPS, dtype=dtype, device="cpu") / 8


def merges_blurs(device: torch.device) -> bool:
    """Whether blurs are merged into the adjacent convolution: more arithmetic, fewer passes over memory.

    On an accelerator arithmetic is cheap and depthwise convolutions are slow; on a CPU it is the reverse.
    """
    return device.type != "cpu"


def alternates_rows(device: torch.device) -> bool:
    """Whether two maps are joined by alternating their rows instead of concatenating their channels.

    A CPU writes whole rows faster than scattered runs of sixteen channels, and convolves both equally fast.
    """
    return device.type == "cpu"


def over_alternating_rows(weight: torch.Tensor) -> torch.Tensor:
    """A kernel for concatenated maps, rearranged for alternating rows: [O,2C,k,k] -> [O,C,2k,k], stride (2,1)."""
    o, i, height, width = weight.shape
    return weight.view(o, 2, i // 2, height, width).permute(0, 2, 3, 1, 4).reshape(o, i // 2, 2 * height, width)


def is_the_blur(kernel: torch.Tensor, gain: float) -> bool:
    """Whether a checkpoint's blur kernel is [1,3,3,1](x)[1,3,3,1] with the sum ``gain``, as this module assumes."""
    if tuple(kernel.shape) != (4, 4):
        return False
    taps = blur_taps()
    expected = taps[:, None] * taps[None, :] * gain
    return bool(torch.allclose(kernel.detach().float().cpu(), expected, rtol=1e-3, atol=1e-6))


def blur_rows(x: torch.Tensor, taps: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Blur along columns without padding, then add ``bias`` per channel: [N,C,H,W], [4] -> [N,C,H-3,W]."""
    return conv2d(x, _depthwise(taps, x).view(-1, 1, 4, 1), bias, groups=x.shape[1], tf32=False)


def blur_columns(x: torch.Tensor, taps: torch.Tensor, *, pad: int) -> torch.Tensor:
    """Blur along rows with ``pad`` columns of zeros on either side: [N,C,H,W], [4] -> [N,C,H,W+2·pad-3]."""
    return conv2d(x, _depthwise(taps, x).view(-1, 1, 1, 4), padding=(0, pad), groups=x.shape[1], tf32=False)


def with_blur_before(weight: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """The kernel of "blur, then convolve" as one convolution: [O,I,3,3], [4] -> [O,I,6,6]; 4 times the arithmetic."""
    o, i = weight.shape[:2]
    taps = taps.to(weight.dtype)
    merged = weight.reshape(o * i, 1, 3, 3)
    merged = conv2d(merged, taps.view(1, 1, 4, 1), padding=(3, 0), tf32=False)  # symmetric taps: nothing to flip
    return conv2d(merged, taps.view(1, 1, 1, 4), padding=(0, 3), tf32=False).view(o, i, 6, 6)


def upsampling_phases(weight: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """The kernel of "transposed convolution of stride 2, then blur of gain 4" as one ordinary convolution.

    Args:
        weight: [O,I,3,3]; output row 2i+t of the transposed convolution takes input row i times tap t.
        taps: [4], see :func:`blur_taps`.

    Returns:
        [4·O,I,3,3] for a convolution with padding 1, whose output channel (2p+q)·O + o holds channel o of the pixels
        (2i+p, 2j+q).

    Derivation: ``out[r] = sum_k b[k]·y[r-1+k]`` behind ``y[j] = sum_i x[i]·w[j-2i]`` makes row r = 2i+p take input
    row i+d times ``f[p-2d]``, where ``f[m] = sum_k b[k]·w[m-1+k]`` is the merged kernel, m from -2 to 3 (index m+2).
    """
    merged = with_blur_before(weight, taps) * 4  # [O,I,6,6]
    reads = [[p + 4, p + 2, p] for p in (0, 1)]  # d = -1, 0, 1
    return torch.cat([merged[:, :, reads[p]][:, :, :, reads[q]] for p in (0, 1) for q in (0, 1)])


def enlarge(rgb: torch.Tensor) -> torch.Tensor:
    """RGB upsampled by 2 with [1,3,3,1]: bilinear, except at the border, with zeros outside.

    Four blends of whole neighbouring rows take a fifth of the time of ``F.interpolate`` on a CPU.

    Args:
        rgb: [N,C,H+2,W+2], padded with the rows above and below (zeros outside the image) and zero columns.

    Returns:
        [N,C,2H,2W].
    """
    n, c, height, width = (*rgb.shape[:2], rgb.shape[2] - 2, rgb.shape[3] - 2)
    taller = rgb.new_empty(n, c, height, 2, width + 2)
    torch.lerp(rgb[:, :, :-2], rgb[:, :, 1:-1], 0.75, out=taller[:, :, :, 0])
    torch.lerp(rgb[:, :, 1:-1], rgb[:, :, 2:], 0.25, out=taller[:, :, :, 1])
    taller = taller.view(n, c, 2 * height, width + 2)
    larger = rgb.new_empty(n, c, 2 * height, width, 2)
    torch.lerp(taller[..., :-2], taller[..., 1:-1], 0.75, out=larger[..., 0])
    torch.lerp(taller[..., 1:-1], taller[..., 2:], 0.25, out=larger[..., 1])
    return larger.view(n, c, 2 * height, 2 * width)


def _depthwise(taps: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return taps.to(x.dtype).expand(x.shape[1], 4).contiguous()  # [C,4]

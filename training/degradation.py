"""Random degradations: blur, downscaling, noise, JPEG and faded colour, in random or fixed order."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

Range = tuple[float, float]


@dataclass(frozen=True)
class DegradationRange:
    """The distribution of :func:`degrade`; every pair is (least, most).

    Args:
        blur: sigma of a Gaussian along its long axis, in pixels of the sharp picture.
        motion: length of a linear motion blur, in pixels.
        shrink: factor of the downscaling; the upscaling back is bicubic or bilinear.
        noise: sigma of Gaussian noise, in units of 1/255.
        jpeg: JPEG quality.
        fade: fraction of the chroma that is lost.
        *_chance: probability of each step.
        in_order_chance: probability of the order of a camera: blur, downscaling, noise, JPEG, fading.
        clean_chance: probability of no degradation, so that a good picture stays unchanged.
    """

    blur: Range = (0.2, 2.5)
    motion: Range = (2, 7)
    shrink: Range = (1, 4.5)
    noise: Range = (0, 10)
    jpeg: Range = (55, 95)
    fade: Range = (0.1, 0.5)
    blur_chance: float = 0.8
    motion_chance: float = 0.1
    shrink_chance: float = 0.9
    noise_chance: float = 0.7
    jpeg_chance: float = 0.8
    fade_chance: float = 0.0
    in_order_chance: float = 0.0
    clean_chance: float = 0.03


def gaussian_kernels(sigma_x: torch.Tensor, sigma_y: torch.Tensor, angle: torch.Tensor, radius: int) -> torch.Tensor:
    """Anisotropic Gaussian kernels.

    Convention: [N] sigmas in pixels along axes rotated by ``angle`` radians (from +x towards +y, y down).

    Returns:
        [N, 2·radius+1, 2·radius+1], each summing to 1.
    """
    ticks = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    cos, sin = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    along, across = x * cos + y * sin, y * cos - x * sin
    weights = torch.exp(-0.5 * ((along / sigma_x.view(-1, 1, 1)) ** 2 + (across / sigma_y.view(-1, 1, 1)) ** 2))
    return weights / weights.sum(dim=(1, 2), keepdim=True)


def motion_kernels(length: torch.Tensor, angle: torch.Tensor, radius: int) -> torch.Tensor:
    """Kernels of linear motion blur, ``length`` [N] pixels at ``angle`` radians: [N,K,K], each summing to 1."""
    ticks = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    cos, sin = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    beyond = ((x * cos + y * sin).abs() - length.view(-1, 1, 1) / 2).clamp_min(0)
    weights = torch.exp(-2 * (beyond**2 + (y * cos - x * sin) ** 2))
    return weights / weights.sum(dim=(1, 2), keepdim=True)


def filter_each(x: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Correlate each picture of [N,C,H,W] with its own kernel of [N,K,K] (K odd), borders reflected."""
    n, c, h, w = x.shape
    radius = kernels.shape[-1] // 2
    padded = F.pad(x, (radius,) * 4, mode="reflect")
    if radius > 3:  # faster as a product of spectra; the wrap-around is cropped with the border
        size = padded.shape[-2:]
        spectrum = torch.fft.rfft2(padded.float()) * torch.fft.rfft2(kernels.to(x).float(), s=size).conj()[:, None]
        return torch.fft.irfft2(spectrum, s=size)[:, :, :h, :w].to(x.dtype)
    weight = kernels.to(x).repeat_interleave(c, dim=0)[:, None]  # [N·C,1,K,K]
    return F.conv2d(padded.reshape(1, n * c, *padded.shape[-2:]), weight, groups=n * c).reshape(n, c, h, w)


def jpeg(x: torch.Tensor, quality: int) -> torch.Tensor:
    """Encode and decode as JPEG: [N,3,H,W] in [0,1], on any device (the codec runs on the CPU)."""
    pictures = (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    coded = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
        coded.append(np.asarray(Image.open(buffer).convert("RGB")))
    return torch.from_numpy(np.stack(coded)).permute(0, 3, 1, 2).to(x) / 255


def resize(x: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    """Resize [N,C,H,W] to [N,C,size,size]; ``bilinear`` and ``bicubic`` are antialiased, ``area`` averages."""
    if mode == "area":
        return F.interpolate(x, size=(size, size), mode="area")
    return F.interpolate(x, size=(size, size), mode=mode, align_corners=False, antialias=True).clamp(0, 1)


def fade_color(x: torch.Tensor, loss: float) -> torch.Tensor:
    """Blend [N,3,H,W] with its luma by ``loss`` (0: no-op, 1: black and white)."""
    luma = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return x + (luma - x) * loss


def degrade(
    x: torch.Tensor, rng: torch.Generator, ranges: DegradationRange | None = None, *, group: int = 1
) -> torch.Tensor:
    """Degrade pictures at random.

    Blur, downscaling, noise, JPEG and fading, in a random order or that of a camera; then the picture is upscaled to
    its size and rounded to eight bits.

    Args:
        x: [N,3,S,S] in [0,1].
        rng: a CPU generator; the only source of randomness.
        ranges: the distribution; None: the default one.
        group: number of pictures that share order, size and quality and are processed together; blur and noise are
            drawn per picture. 1 suits a CPU, a quarter of the batch a GPU.

    Returns:
        [N,3,S,S] in [0,1].
    """
    ranges = ranges or DegradationRange()
    return torch.cat([_degrade_group(part, rng, ranges) for part in x.split(max(1, group))])


def _degrade_group(x: torch.Tensor, rng: torch.Generator, ranges: DegradationRange) -> torch.Tensor:
    size = x.shape[-1]
    if _chance(rng, ranges.clean_chance):
        return x
    steps = range(5) if _chance(rng, ranges.in_order_chance) else torch.randperm(5, generator=rng).tolist()
    for step in steps:
        if step == 0:
            x = _blur(x, rng, ranges, x.shape[-1] / size)
        elif step == 1 and _chance(rng, ranges.shrink_chance):
            x = resize(x, max(8, round(size / _uniform(rng, ranges.shrink))), _pick(rng, "area", "bilinear", "bicubic"))
        elif step == 2 and _chance(rng, ranges.noise_chance):
            x = _noise(x, rng, ranges)
        elif step == 3 and _chance(rng, ranges.jpeg_chance):
            x = jpeg(x, round(_uniform(rng, ranges.jpeg)))
        elif step == 4 and _chance(rng, ranges.fade_chance):
            x = fade_color(x, _uniform(rng, ranges.fade))
    if x.shape[-1] != size:
        x = resize(x, size, _pick(rng, "bicubic", "bicubic", "bilinear"))
    return (x.clamp(0, 1) * 255).round() / 255


def _blur(x: torch.Tensor, rng: torch.Generator, ranges: DegradationRange, scale: float) -> torch.Tensor:
    """Gaussian and motion blur; their sizes are those for the sharp picture times ``scale``."""
    n = len(x)
    if _chance(rng, ranges.blur_chance):
        least, most = ranges.blur
        long = (least + (most - least) * torch.rand(n, generator=rng)) * scale
        round_one = torch.rand(n, generator=rng) < 0.6
        short = torch.where(round_one, long, long * (0.3 + 0.7 * torch.rand(n, generator=rng)))
        angle = torch.rand(n, generator=rng) * math.pi
        radius = max(1, math.ceil(3 * most * scale))
        x = filter_each(x, gaussian_kernels(long.clamp_min(0.05), short.clamp_min(0.05), angle, radius))
    if _chance(rng, ranges.motion_chance):
        least, most = ranges.motion
        length = (least + (most - least) * torch.rand(n, generator=rng)) * scale
        angle = torch.rand(n, generator=rng) * math.pi
        x = filter_each(x, motion_kernels(length, angle, max(1, math.ceil(most * scale / 2) + 1)))
    return x


def _noise(x: torch.Tensor, rng: torch.Generator, ranges: DegradationRange) -> torch.Tensor:
    """Gaussian noise, monochrome for 40 % of the pictures."""
    n, _, h, w = x.shape
    least, most = ranges.noise
    sigma = (least + (most - least) * torch.rand(n, 1, 1, 1, generator=rng)) / 255
    mono = torch.rand(n, 1, 1, 1, generator=rng) < 0.4
    noise = torch.randn(n, 3, h, w, generator=rng)
    noise = torch.where(mono, noise[:, :1].expand(-1, 3, -1, -1), noise)
    # monochrome noise for black-and-white pictures, or the network learns to remove colour
    noise = torch.where(_is_grey(x.cpu()), noise[:, :1].expand(-1, 3, -1, -1), noise)
    return (x + (noise * sigma).to(x)).clamp(0, 1)


def _is_grey(x: torch.Tensor) -> torch.Tensor:
    return ((x.amax(1) - x.amin(1)).amax(dim=(1, 2)) < 0.02).view(-1, 1, 1, 1)


def _uniform(rng: torch.Generator, bounds: Range) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=rng))


def _chance(rng: torch.Generator, p: float) -> bool:
    return float(torch.rand((), generator=rng)) < p


def _pick(rng: torch.Generator, *choices: str) -> str:
    return choices[int(torch.randint(len(choices), (), generator=rng))]

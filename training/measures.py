"""Metrics that distinguish restored faces from blurred and from grainy ones, and fixed degradation recipes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .degradation import filter_each, gaussian_kernels, jpeg, resize

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Recipe:
    """A degradation of fixed kind and strength; only the noise is random, from a fixed seed.

    Args:
        blur: sigma in pixels of the sharp crop.
        shrink: downscaling factor (area average); the upscaling is bicubic.
        noise: sigma in units of 1/255, at the small size.
        quality: JPEG quality, at the small size.
    """

    blur: float
    shrink: float
    noise: float
    quality: int

    def describe(self) -> str:
        """The recipe as text, for tables."""
        return (
            f"Gaussian blur sigma {self.blur:g} px, shrunk {self.shrink:g}× (area), "
            f"noise sigma {self.noise:g}/255, JPEG {self.quality}, enlarged bicubic"
        )

    def small(self, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Degrade [N,3,S,S] in [0,1] without the upscaling: [N,3,s,s]."""
        size = x.shape[-1]
        sigma = torch.full((len(x),), self.blur)
        x = filter_each(x, gaussian_kernels(sigma, sigma, torch.zeros(len(x)), max(1, round(4 * self.blur))))
        x = resize(x, round(size / self.shrink), "area")
        rng = torch.Generator().manual_seed(seed)
        x = x + torch.randn(x.shape, generator=rng).to(x) * (self.noise / 255)
        return jpeg(x, self.quality)

    def __call__(self, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Degrade [N,3,S,S] in [0,1]: [N,3,S,S] in multiples of 1/255."""
        return (resize(self.small(x, seed), x.shape[-1], "bicubic") * 255).round() / 255


RECIPES = {
    "mild": Recipe(blur=0.6, shrink=1.5, noise=2, quality=90),
    "moderate": Recipe(blur=1.0, shrink=2.5, noise=3, quality=80),
    "strong": Recipe(blur=1.5, shrink=4, noise=4, quality=75),
}


def face_region(size: int) -> torch.Tensor:
    """Bool [size,size]: the ellipse of brows, eyes, nose and mouth in an aligned crop (template ``gpen``)."""
    ticks = (torch.arange(size) + 0.5) / size
    return ((ticks - 0.59) / 0.25)[:, None] ** 2 + ((ticks - 0.5) / 0.20)[None, :] ** 2 <= 1


def psnr(x: torch.Tensor, target: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """PSNR in dB per picture of [N,3,S,S] in [0,1] over ``region``: [N]."""
    error = (x.double() - target.double()).square().mean(1)[:, region].mean(1)
    return -10 * torch.log10(error.clamp_min(1e-10))


def detail(x: torch.Tensor, target: torch.Tensor, region: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Amount of detail, and the part of it that agrees with the original.

    Both lumas are smoothed with sigma = 1.2 px, so that grain does not count, then filtered by a Laplacian: a of ``x``,
    b of the target. Energy is sum(a²)/sum(b²), regression is sum(ab)/sum(b²), both over ``region``: a blurred picture
    has little of either, an invented texture has energy only.

    Returns:
        (energy [N], regression [N]) of pictures [N,3,S,S].
    """
    a, b = _laplacian(x)[:, region], _laplacian(target)[:, region]
    power = b.square().sum(1).clamp_min(1e-12)
    return a.square().sum(1) / power, (a * b).sum(1) / power


def color_drift(x: torch.Tensor, target: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Distance between the mean colours of the region, in units of 1/255: [N]."""
    means = [picture.double().permute(0, 2, 3, 1)[:, region].mean(1) for picture in (x, target)]
    return (means[0] - means[1]).square().sum(1).sqrt() * 255


def ssim(x: torch.Tensor, target: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Structural similarity of the lumas over ``region``, Gaussian window sigma 1.5 (Wang et al. 2004): [N]."""
    a, b = _luma(x), _luma(target)

    def smooth(y: torch.Tensor) -> torch.Tensor:
        sigma = torch.full((len(y),), 1.5)
        return filter_each(y, gaussian_kernels(sigma, sigma, torch.zeros(len(y)), 5))

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    map_ = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return map_[:, 0, region].mean(1)


def unsharp_mask(x: torch.Tensor, sigma: float = 2.0, amount: float = 1.0) -> torch.Tensor:
    """The classical baseline: x + amount · (x - blurred x), for [N,C,S,S] in [0,1]."""
    sigmas = torch.full((len(x),), sigma)
    blurred = filter_each(x, gaussian_kernels(sigmas, sigmas, torch.zeros(len(x)), round(4 * sigma)))
    return (x + amount * (x - blurred)).clamp(0, 1)


def _luma(x: torch.Tensor) -> torch.Tensor:
    return (x.float() * x.new_tensor(LUMA).float().view(1, 3, 1, 1)).sum(1, keepdim=True)


def _laplacian(x: torch.Tensor) -> torch.Tensor:
    """Laplacian of the smoothed luma: [N,3,S,S] -> [N,S,S] float64."""
    sigma = torch.full((len(x),), 1.2)
    smooth = filter_each(_luma(x), gaussian_kernels(sigma, sigma, torch.zeros(len(x)), 5)).double()
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)[None, None]
    return F.conv2d(F.pad(smooth, (1, 1, 1, 1), mode="reflect"), kernel)[:, 0]

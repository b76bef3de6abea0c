"""Low-pass filters for square pictures, parametrised by fractions of the side, so that they scale with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..geometry.filtering import reflect
from ..geometry.resizing import resize_planes
from ..geometry.upload import upload

LARGEST_SIGMA = 12.0  # pixels; wider blurs run on a smaller grid, which changes the result by less than 0.1 %
BLOCK = 64  # outputs per small matrix product: band matrices are much faster than convolutions on a CPU
SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # B3 spline, scaling filter of the à-trous wavelet; variance 1
WAVELET_GRID = 256  # px; the grid on which the wavelet is computed
WAVELET_LEVELS = 4  # sigma sqrt((4**4 - 1) / 3) = 9.2 of 256 px, 3.6 % of the side


def resize_square(image: Tensor, size: int) -> Tensor:
    """Resize (S, S, C) float32 to (size, size, C), antialiased bicubic; may overshoot by a few percent, not clamped.

    Convention: pixel centres at (j + 0.5, i + 0.5), so that the corners of both pictures coincide.
    """
    if tuple(image.shape[:2]) == (size, size):
        return image
    planes = image.permute(2, 0, 1)[None]  # [1,C,S,S]
    return resize_planes(planes, (size, size), "bicubic")[0].permute(1, 2, 0)


def filter_rows(planes: Tensor, taps: Tensor) -> Tensor:
    """Correlate the last axis of (..., L) with an odd number of ``taps``, border mirrored; the shape is kept."""
    length, radius = planes.shape[-1], len(taps) // 2
    block = min(BLOCK, length)
    blocks = -(-length // block)
    index = reflect(torch.arange(-radius, blocks * block + radius, device=planes.device), length)
    windows = planes.index_select(-1, index).unfold(-1, block + 2 * radius, block)  # [..., blocks, block + 2 radius]
    band = taps.new_zeros(block + 2 * radius, block)
    rows = torch.arange(len(taps), device=taps.device)[:, None] + torch.arange(block, device=taps.device)
    band[rows, torch.arange(block, device=taps.device)] = taps[:, None].expand(-1, block)
    # one flat product: a batched product of overlapping windows is a hundred times slower
    filtered = windows.reshape(-1, block + 2 * radius) @ band
    return filtered.view(*planes.shape[:-1], blocks * block)[..., :length]


def filter_square(planes: Tensor, taps: Tensor) -> Tensor:
    """Correlate the rows and the columns of (C, H, W) with the same taps."""
    return filter_rows(filter_rows(planes, taps).mT, taps).mT


def gaussian_taps(sigma: float, device: torch.device) -> Tensor:
    """A sampled Gaussian, sum 1, truncated at 4 sigma; ``sigma`` in pixels; for sigma -> 0 a single tap of 1."""
    radius = max(1, math.ceil(4 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=device)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    return weights / weights.sum()


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (S, S, C) float32 with mirrored borders; ``sigma`` is a fraction of the side, in [0, 1].

    Continuous in sigma. Wide blurs run on a grid reduced by a power of two, so that the cost does not grow with sigma.
    """
    side = image.shape[0]
    halvings = max(0, math.ceil(math.log2(max(sigma, 1e-9) * side / LARGEST_SIGMA)))
    grid = max(1, round(side / 2**halvings))
    planes = resize_square(image, grid).permute(2, 0, 1)  # [C,grid,grid]
    planes = filter_square(planes, gaussian_taps(sigma * grid, image.device))
    return resize_square(planes.permute(1, 2, 0), side)


def wavelet_low(image: Tensor) -> Tensor:
    """Low band of (S, S, C) float32 after ``WAVELET_LEVELS`` levels of an à-trous wavelet: (256, 256, C).

    Each level smooths with the B3 spline, its taps twice as far apart as in the level before. It runs on a grid of
    ``WAVELET_GRID``, so that the cut-off is the same fraction of the face at every resolution.
    """
    planes = resize_square(image, WAVELET_GRID).permute(2, 0, 1)
    for level in range(WAVELET_LEVELS):
        step = 2**level
        taps = torch.zeros(4 * step + 1, dtype=torch.float32, device="cpu")
        taps[::step] = torch.tensor(SPLINE, dtype=torch.float32, device="cpu")
        planes = filter_square(planes, upload(taps, image.device))
    return planes.permute(1, 2, 0)

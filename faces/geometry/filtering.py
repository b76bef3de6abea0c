"""Resample a picture to an axis-parallel grid: separable filters as banded matrix products, border mirrored.

A wide filter costs little more than reading the picture once: a block of adjacent samples shares one window of the
picture, and all blocks share one small matrix of weights.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .upload import upload

DENSITY = 1.5  # grid samples per resolvable pixel: 1 would attenuate by up to 30 %, 2 is twice the work
WIDE = 3  # source pixels per result pixel from which a window serves fewer samples, which leaves fewer zero weights


def cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -1/2, at ``x`` (any shape, in samples): exact for parabolas."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def lanczos3(x: Tensor) -> Tensor:
    """Lanczos kernel with three lobes at ``x`` (any shape, in samples)."""
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), torch.zeros_like(x))


def reflect(index: Tensor, length: int) -> Tensor:
    """Mirror indexes outside ``[0, length)`` at the picture's edges (… 1 0 | 0 1 2 …), any number of times."""
    index = index.remainder(2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


class Filter:
    """Weights of resampling along one axis: ``block`` samples from a window of ``taps`` source pixels.

    The grid's step is a multiple of 1/``block``.

    Convention: source pixel k covers [k, k+1]; sample i of a grid that starts at the integer ``origin`` lies at
    origin + (i + 0.5) · step. The window of samples b·block … b·block + block-1 starts at pixel
    origin + first + b · stride. Upscaling: Keys' cubic; downscaling: Lanczos stretched to the result's pixels.
    """

    def __init__(self, stretch: float, shrinking: bool) -> None:
        self.block = 4 if stretch >= WIDE else 8
        self.stride = max(1, math.floor(self.block * stretch / DENSITY + 1e-6))
        self.step = self.stride / self.block
        kernel, lobes = (lanczos3, 3) if shrinking else (cubic, 2)
        reach = lobes * stretch
        self.first = math.floor(self.step / 2 - reach)
        self.taps = math.ceil(self.stride - self.step / 2 + reach) - self.first
        centres = (torch.arange(self.block, dtype=torch.float64, device="cpu") + 0.5) * self.step
        pixels = self.first + torch.arange(self.taps, dtype=torch.float64, device="cpu") + 0.5
        weights = kernel((pixels - centres[:, None]) / stretch)
        self.weights = (weights / weights.sum(1, keepdim=True)).float()  # [block, taps]

    def span(self, lo: float, hi: float, anchor: int) -> tuple[int, int]:
        """Origin and number of blocks of a grid that covers [lo, hi] with margin for the taps of a cubic.

        It is offset from ``anchor`` by whole blocks, so that grids with the same anchor share their samples.
        """
        skipped = math.floor((lo - 2 * self.step - anchor) / self.stride)
        origin = anchor + skipped * self.stride
        return origin, max(1, math.ceil((hi + 2 * self.step - origin) / self.stride))


class Axis:
    """One axis of a grid over ``length`` pixels: the pixels that it reads, lo … hi-1, and the filter along it."""

    def __init__(self, weights: Filter, origin: int, blocks: int, length: int) -> None:
        self.weights, self.blocks = weights, blocks
        self.start = origin + weights.first
        # blocks whose window is inside the picture; the others get their own mirrored weights
        self.inside = range(
            min(blocks, max(0, -(self.start // weights.stride))),
            max(0, min(blocks, (length - weights.taps - self.start) // weights.stride + 1)),
        )
        self.mirrored = [self._mirror(b, length) for b in range(blocks) if b not in self.inside]
        ends = [(lo, lo + own.shape[1]) for _, lo, own in self.mirrored]
        if self.inside:
            first, last = self.inside[0] * weights.stride, self.inside[-1] * weights.stride
            ends.append((self.start + first, self.start + last + weights.taps))
        self.lo, self.hi = min(lo for lo, _ in ends), max(hi for _, hi in ends)

    def _mirror(self, block: int, length: int) -> tuple[int, int, Tensor]:
        """Block index, first pixel, and weights [block, n] of the n pixels from there."""
        at = reflect(self.start + block * self.weights.stride + torch.arange(self.weights.taps, device="cpu"), length)
        lo = int(at.min())
        own = torch.zeros(self.weights.block, int(at.max()) + 1 - lo, dtype=torch.float32, device="cpu")
        own.index_add_(1, at - lo, self.weights.weights)
        return block, lo, own

    def filter(self, matrix: Tensor, channels: int = 1) -> Tensor:
        """Filter the first axis: [(hi-lo)·channels, n], any strides -> [blocks·block·channels, n], contiguous.

        Channels interleaved along the axis are not separated: the weights of the other channels are zero, which is
        faster than moving the pixels.
        """
        taps, block = self.weights.taps * channels, self.weights.block * channels
        stride, step = self.weights.stride * channels, matrix.stride(0)
        apart = torch.eye(channels, dtype=torch.float32, device="cpu")
        out = torch.empty(self.blocks, block, matrix.shape[1], dtype=torch.float32, device=matrix.device)
        if self.inside:
            first = (self.start - self.lo) * channels + self.inside[0] * stride
            windows = matrix.as_strided(  # overlapping, not copied
                (len(self.inside), taps, matrix.shape[1]),
                (stride * step, step, matrix.stride(1)),
                matrix.storage_offset() + first * step,
            )
            weights = upload(torch.kron(self.weights.weights, apart), out.device).expand(len(self.inside), -1, -1)
            torch.bmm(weights, windows, out=out[self.inside.start : self.inside.stop])
        for number, lo, own in self.mirrored:
            own = upload(torch.kron(own, apart), out.device)
            torch.mm(own, matrix.narrow(0, (lo - self.lo) * channels, own.shape[1]), out=out[number])
        return out.view(-1, matrix.shape[1])


def read_grid(picture: Tensor, across: Axis, down: Axis) -> Tensor:
    """Resample ``picture`` [H, W, C] to the grid of two axes; the result is transposed: [3, columns, rows]."""
    part = picture[down.lo : down.hi, across.lo : across.hi, :3]
    if part.dtype != torch.float32 or part.stride()[1:] != (3, 1):
        part = part.to(torch.float32).contiguous()
    height, width = part.shape[:2]
    tall = down.filter(part.as_strided((height, width * 3), (part.stride(0), 1), part.storage_offset()))
    wide = across.filter(tall.t(), 3)
    return wide.view(-1, 3, wide.shape[1]).transpose(0, 1)

"""Antialiased affine resampling of a rotated, scaled rectangle of a picture, at any scale, in float32.

Two steps. A separable filter resamples the picture to an axis-parallel grid as fine as the result needs (banded matrix
products: a wide filter costs little more than reading the picture once). A bicubic warp then samples that grid along
the rotated rows. All filtering is in the first step, so the warp does not alias, and the grid is oversampled, so the
warp does not soften it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .filtering import Axis, Filter, lanczos3, read_grid, reflect
from .upload import steps

TILE = {"cpu": 512, "cuda": 2048}  # largest side of a tile of the result in pixels: bounds the memory
OFF_AXIS = math.sin(math.radians(15))  # from this rotation, corners of the rotated pass band would alias visibly

Matrix = Sequence[Sequence[float]]
Rectangle = tuple[float, float, float, float]  # x0, y0, x1, y1
EVERYWHERE = (-math.inf, -math.inf, math.inf, math.inf)


def warps_on(device: torch.device) -> bool:
    """Whether :func:`warp` runs on this device type; others lack the bicubic sampler and use the CPU."""
    return device.type in TILE


def _bicubic(grid: Tensor, a: Matrix, height: int, width: int) -> Tensor:
    """Sample ``grid`` [3, columns, rows] at a · (j, i, 1), in samples from its corner: [3, height, width]."""
    columns, rows = grid.shape[1:]
    pieces = torch.get_num_threads() if grid.device.type == "cpu" else 1  # torch runs in parallel over the batch only
    padded = -(-height // pieces) * pieces
    # grid_sample's order is (last axis, second to last), its range -1 … 1 from edge to edge
    axes = ((a[1], rows / 2), (a[0], columns / 2))
    along = torch.stack([steps(width, row[0] / half, 0.0, grid.device) for row, half in axes], -1)
    down = torch.stack([steps(padded, row[1] / half, row[2] / half - 1, grid.device) for row, half in axes], -1)
    points = (down[:, None] + along).view(pieces, padded // pieces, width, 2)
    sampled = F.grid_sample(
        grid.expand(pieces, -1, -1, -1), points, mode="bicubic", padding_mode="zeros", align_corners=False
    )
    return sampled.transpose(0, 1).reshape(3, padded, width)[:, :height]


def _midpoints(corners: Tensor) -> Tensor:
    """Interpolate the values at pixel centres from those at the surrounding corners: [3, h+5, w+5] -> [3, h, w]."""
    taps = lanczos3(torch.arange(3, dtype=torch.float32, device="cpu") + 0.5)
    taps = (taps / taps.sum() / 2).tolist()
    for axis in (1, 2):
        length = corners.shape[axis] - 5
        pairs = [corners.narrow(axis, 2 - k, length) + corners.narrow(axis, 3 + k, length) for k in range(3)]
        corners = (pairs[0] * taps[0]).add_(pairs[1], alpha=taps[1]).add_(pairs[2], alpha=taps[2])
    return corners


def _compose(a: Matrix, x: float, y: float, origin: Sequence[float], step: float) -> Matrix:
    """Map from (j, i) to grid samples: the point (x + j, y + i) through ``a``, relative to ``origin``, in ``step``s."""
    return [[r[0] / step, r[1] / step, (r[0] * x + r[1] * y + r[2] - o) / step] for r, o in zip(a, origin, strict=True)]


def _tile(
    picture: Tensor, a: Matrix, weights: Filter, box: tuple[int, int, int, int], twice: bool, within: Rectangle
) -> Tensor:
    """Pixels x0 … x1-1, y0 … y1-1 of the result: [3, y1-y0, x1-x0]."""
    x0, y0, x1, y1 = box
    margin = 2.5 if twice else -0.5  # the corners for ``_midpoints`` extend beyond the pixel centres
    ends = [(x, y) for x in (x0 - margin, x1 + margin) for y in (y0 - margin, y1 + margin)]
    axes, origins = [], []
    for row, lo, hi, length in zip(a, within[:2], within[2:], (picture.shape[1], picture.shape[0]), strict=True):
        positions = [row[0] * x + row[1] * y + row[2] for x, y in ends]
        lo, hi = max(lo, min(positions)), min(hi, max(positions))
        if lo >= hi:  # the tile is outside ``within``
            return torch.zeros(3, y1 - y0, x1 - x0, dtype=torch.float32, device=picture.device)
        origin, blocks = weights.span(lo, hi, math.floor(row[2]))
        axes.append(Axis(weights, origin, blocks, length))
        origins.append(origin)
    grid = read_grid(picture, *axes)
    height, width = y1 - y0, x1 - x0
    out = _bicubic(grid, _compose(a, x0 + 0.5, y0 + 0.5, origins, weights.step), height, width)
    if not twice:
        return out
    # pixel centres and corners: twice the samples, on a quincunx lattice, which suits a pass band rotated by 45° best
    corners = _bicubic(grid, _compose(a, x0 - 2, y0 - 2, origins, weights.step), height + 5, width + 5)
    return _midpoints(corners).add_(out).mul_(0.5)


def _whole(shift: float) -> bool:
    return abs(shift - round(shift)) < 1e-6


def _shifted(picture: Tensor, x: int, y: int, height: int, width: int) -> Tensor:
    """Copy [3, height, width] pixels from column x, row y; mirrored at the border."""
    device = picture.device
    rows = reflect(torch.arange(y, y + height, device=device), picture.shape[0])
    columns = reflect(torch.arange(x, x + width, device=device), picture.shape[1])
    return picture[:, :, :3].index_select(0, rows).index_select(1, columns).float().permute(2, 0, 1).contiguous()


@torch.no_grad()
def warp(picture: Tensor, matrix: Matrix, height: int, width: int, within: Rectangle = EVERYWHERE) -> Tensor:
    """Resample a rotated and scaled rectangle of a picture; downscaling is antialiased, the border is mirrored.

    Args:
        picture: [H, W, C], C >= 3, of which the first three are read; any float dtype, any strides.
        matrix: 2×3, from the result's coordinates to the picture's.
        height, width: the result's size in pixels.
        within: the part of the picture that matters; result pixels outside are undefined (but finite).

    Returns:
        [3, height, width] float32 on the picture's device; filters may overshoot the picture's range a little.

    Convention: both coordinate systems are (x, y), continuous, with the origin at the top-left corner: the pixel in
    column j, row i has its centre at (j + 0.5, i + 0.5). The matrix is a similarity up to the rounding of an image
    size to whole pixels.
    """
    (a, b, x), (c, d, y) = matrix
    if max(abs(a - 1), abs(b), abs(c), abs(d - 1)) * max(height, width) < 1e-6 and _whole(x) and _whole(y):
        return _shifted(picture, round(x), round(y), height, width)
    scale = math.sqrt(abs(a * d - b * c))
    device = picture.device
    if not warps_on(device):
        return warp(picture.cpu(), matrix, height, width, within).to(device)
    off_axis = min(math.hypot(b, c), math.hypot(a, d)) / math.hypot(a, b, c, d)
    tile = TILE[device.type]
    shrinking = scale > 1 + 1e-6  # scales that differ from 1 by rounding count as upscaling
    twice = shrinking and off_axis > OFF_AXIS
    # sampled twice, the grid keeps the whole rotated pass band; sampled once, only what does not alias
    finest = scale / (off_axis + math.sqrt(1 - off_axis**2)) if twice else scale
    weights = Filter(max(finest, 1.0), shrinking)
    room = 3 * scale if twice else 0.0  # ``_midpoints`` reads neighbours
    within = (within[0] - room, within[1] - room, within[2] + room, within[3] + room)
    ys = [round(k * height / -(-height // tile)) for k in range(-(-height // tile) + 1)]
    xs = [round(k * width / -(-width // tile)) for k in range(-(-width // tile) + 1)]
    out = torch.empty(3, height, width, dtype=torch.float32, device=device)
    for y0, y1 in itertools.pairwise(ys):
        for x0, x1 in itertools.pairwise(xs):
            out[:, y0:y1, x0:x1] = _tile(picture, matrix, weights, (x0, y0, x1, y1), twice, within)
    return out

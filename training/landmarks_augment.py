"""Training examples of the landmark network: rotated, bent and degraded portraits, and squares without a face."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..detectors.builtin.landmark_net import INPUT_SIDE, mirror_points
from .landmarks_data import Portraits, off_the_face

_FINE = 2 * INPUT_SIDE  # squares are sampled at this side and averaged to half of it


def _uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64) * (high - low) + low


def _normal(generator: torch.Generator, count: int, sigma: float) -> Tensor:
    return torch.randn(count, generator=generator, dtype=torch.float64) * sigma


def _chance(generator: torch.Generator, count: int, probability: float) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64) < probability


def _about_centre(angle: Tensor, stretch: Tensor, shift: Tensor) -> Tensor:
    """Maps of the unit square: rotated by angle, scaled by (M, 2) about the centre, shifted by (M, 2): (M, 2, 3)."""
    cos, sin = angle.cos(), angle.sin()
    linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2) * stretch[:, None, :]
    return torch.cat([linear, (0.5 + shift - linear.sum(-1) * 0.5)[..., None]], -1)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    linear = outer[:, :, :2] @ inner[:, :, :2]
    return torch.cat([linear, outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]], -1)


def _bend(uv: Tensor, amount: Tensor) -> Tensor:
    """Shift the middle of the square sideways, as yaw of the head does: (M, …, 2) -> (M, …, 2)."""
    q = 2 * uv - 1
    away = amount.view(-1, *[1] * (uv.ndim - 2)) * (1 - q[..., 0] ** 2).clamp(min=0) * (1 - q[..., 1] ** 2).clamp(min=0)
    return torch.stack([uv[..., 0] + away / 2, uv[..., 1]], -1)


def _unbend(uv: Tensor, amount: Tensor) -> Tensor:
    """The inverse of :func:`_bend`, by fixed-point iteration (contracting for |amount| < 0.5)."""
    guess = uv
    for _ in range(12):
        guess = uv - (_bend(guess, amount) - guess)
    return guess


def cut_bent(
    portraits: Portraits, which: Tensor, squares: Tensor, amount: Tensor, generator: torch.Generator
) -> Tensor:
    """Crop squares (M, 2, 3) from the portraits ``which`` (M,), bent: (M, 1, 64, 64) float32 in [0, 1].

    The grey is a random colour channel. Outside the portrait its edge is repeated, or the square is flat.
    """
    _, _, height, width = portraits.pixels.shape
    count = len(which)
    at = (torch.arange(_FINE) + 0.5) / _FINE
    uv = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).expand(count, -1, -1, -1)
    uv = _bend(uv, amount.float())
    to_grid = squares.new_tensor([2.0 / width, 2.0 / height])[:, None]
    grid_of = (squares * to_grid - squares.new_tensor([0.0, 0.0, 1.0])).float()  # unit square to grid_sample's [-1, 1]
    grid = (uv.flatten(1, 2) @ grid_of[:, :, :2].transpose(1, 2) + grid_of[:, None, :, 2]).view(count, _FINE, _FINE, 2)
    channel = torch.randint(3, (count,), generator=generator)
    grey = portraits.pixels[which, channel, None].float() / 255
    cut = F.grid_sample(grey, grid, padding_mode="border", align_corners=False)
    outside = (grid.abs().amax(-1) > 1)[:, None] & _chance(generator, count, 0.5)[:, None, None, None]
    cut = torch.where(outside, torch.rand(count, 1, 1, 1, generator=generator), cut)
    return F.avg_pool2d(cut, 2)


def face_batch(portraits: Portraits, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Faces as the detector sees them: squares (M, 1, 64, 64) and their points (M, 5, 2) in [0, 1]² of the square.

    40 % are placed as in the second pass, the others as in a box of the cascade, tilted by up to 35°.
    """
    which = torch.randint(len(portraits), (count,), generator=generator)
    second = _chance(generator, count, 0.4)
    angle = torch.where(second, _normal(generator, count, 0.06), _uniform(generator, count, -1, 1) * math.radians(35))
    scale = _normal(generator, count, 1).clamp(-2.6, 2.6)
    scale = (scale * torch.where(second, 0.06, 0.17)).exp()
    aspect = _normal(generator, count, 0.06).exp()
    shift = torch.stack([_normal(generator, count, 1), _normal(generator, count, 1)], -1).clamp(-2.2, 2.2)
    shift = shift * torch.where(second, 0.025, 0.08)[:, None]
    place = _about_centre(angle, torch.stack([scale * aspect, scale / aspect], -1), shift)
    squares = _compose(portraits.squares[which], place)
    amount = _normal(generator, count, 0.16).clamp(-0.38, 0.38)
    images = cut_bent(portraits, which, squares, amount, generator)
    linear = torch.linalg.inv(squares[:, :, :2])
    uv = (portraits.points[which] - squares[:, None, :, 2]) @ linear.transpose(1, 2)
    points = _unbend(uv, amount)
    mirror = _chance(generator, count, 0.5)
    images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    points = torch.where(mirror[:, None, None], mirror_points(points), points).float()
    return degrade_squares(images, generator), points


def degrade_squares(images: Tensor, generator: torch.Generator) -> Tensor:
    """Degrade with side light, gamma, clipped contrast, occlusion, low resolution, blur, noise: (M, 1, 64, 64)."""
    count = len(images)
    ramp = torch.linspace(-1, 1, INPUT_SIDE)
    direction = torch.randn(count, 2, generator=generator) * 0.25
    light = 1 + direction[:, :1, None] * ramp[None, :, None] + direction[:, 1:, None] * ramp[None, None, :]
    images = images * light.clamp(min=0.15)[:, None]
    gamma = _uniform(generator, count, -0.6, 0.6).exp().float()[:, None, None, None]
    images = images.clamp(0, 1) ** gamma
    gain = _uniform(generator, count, 0.5, 1.7).float()[:, None, None, None]
    images = ((images - 0.5) * gain + 0.5 + _normal(generator, count, 0.12).float()[:, None, None, None]).clamp(0, 1)
    images = _cover(images, generator)
    images = _lower_resolution(images, generator)
    noise = _uniform(generator, count, -0.06, 0.07).clamp(min=0).float()[:, None, None, None]
    return images + noise * torch.randn(images.shape, generator=generator)


def _cover(images: Tensor, generator: torch.Generator) -> Tensor:
    """Occlude a part of 35 % of the images with a flat patch or a patch of another image."""
    count = len(images)
    at = (torch.arange(INPUT_SIDE) + 0.5) / INPUT_SIDE
    centre, extent = torch.rand(count, 2, generator=generator), 0.08 + 0.3 * torch.rand(count, 2, generator=generator)
    inside_x = (at - centre[:, :1]).abs() < extent[:, :1] / 2
    inside_y = (at - centre[:, 1:]).abs() < extent[:, 1:] / 2
    patch = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    covered = patch & _chance(generator, count, 0.35)[:, None, None, None]
    flat = torch.rand(count, 1, 1, 1, generator=generator).expand_as(images)
    strange = images.roll(1, 0).flip(-2)
    fill = torch.where(_chance(generator, count, 0.6)[:, None, None, None], flat, strange)
    return torch.where(covered, fill, images)


def _lower_resolution(images: Tensor, generator: torch.Generator) -> Tensor:
    """Reduce resolution or sharpness of 40 % of the images, in a few groups per batch."""
    images = images.clone()
    group = torch.randint(10, (len(images),), generator=generator)
    for index in range(3):
        members = group == index
        if members.any():
            side = int(torch.randint(16, 44, (), generator=generator))
            small = F.interpolate(images[members], (side, side), mode="bilinear", antialias=True)
            images[members] = F.interpolate(small, (INPUT_SIDE, INPUT_SIDE), mode="bicubic")
    members = group == 3
    if members.any():
        images[members] = F.avg_pool2d(images[members], 3, 1, 1, count_include_pad=False)
    return images


def non_face_batch(portraits: Portraits, bank: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Squares without a whole upright face: (M, 1, 64, 64).

    Off the faces, faces on their side or upside down, shuffled faces, patterns, and pictures and false positives of the
    cascade from the bank, some of them made symmetric.
    """
    off, turned, shuffled, drawn = count * 3 // 8, count // 16, count // 16, count // 16
    parts = [
        _off_faces(portraits, off, generator),
        _turned_faces(portraits, turned, generator),
        _shuffled_faces(portraits, shuffled, generator),
        _patterns(drawn, generator),
    ]
    rest = count - sum(map(len, parts))
    chosen = bank[torch.randint(len(bank), (rest,), generator=generator)].float() / 255
    chosen = torch.where(_chance(generator, rest, 0.5)[:, None, None, None], chosen.flip(-1), chosen)
    chosen = torch.where(_chance(generator, rest, 0.15)[:, None, None, None], chosen.flip(-2), chosen)
    half = torch.cat([chosen[..., : INPUT_SIDE // 2], chosen[..., : INPUT_SIDE // 2].flip(-1)], -1)
    parts.append(torch.where(_chance(generator, rest, 0.15)[:, None, None, None], half, chosen))
    return degrade_squares(torch.cat(parts), generator)


def _off_faces(portraits: Portraits, count: int, generator: torch.Generator) -> Tensor:
    tries = count * 3  # enough that ``count`` are left after rejection
    which = torch.randint(len(portraits), (tries,), generator=generator)
    _, _, height, width = portraits.pixels.shape
    side = 20 * (220 / 20) ** torch.rand(tries, generator=generator, dtype=torch.float64)
    angle = _uniform(generator, tries, -0.4, 0.4)
    centre = torch.rand(tries, 2, generator=generator, dtype=torch.float64)
    centre = centre * centre.new_tensor([width, height])
    squares = _about_centre(angle, side[:, None].expand(-1, 2), centre - 0.5)
    kept = off_the_face(squares, portraits.squares[which]).nonzero()[:count, 0]
    return cut_bent(portraits, which[kept], squares[kept], torch.zeros(len(kept), dtype=torch.float64), generator)


def _turned_faces(portraits: Portraits, count: int, generator: torch.Generator) -> Tensor:
    which = torch.randint(len(portraits), (count,), generator=generator)
    angle = _uniform(generator, count, math.radians(80), math.radians(280))
    scale = _normal(generator, count, 0.15).exp()[:, None].expand(-1, 2)
    place = _about_centre(angle, scale, torch.zeros(count, 2, dtype=torch.float64))
    squares = _compose(portraits.squares[which], place)
    return cut_bent(portraits, which, squares, torch.zeros(count, dtype=torch.float64), generator)


def _shuffled_faces(portraits: Portraits, count: int, generator: torch.Generator) -> Tensor:
    which = torch.randint(len(portraits), (count,), generator=generator)
    images = cut_bent(portraits, which, portraits.squares[which], torch.zeros(count, dtype=torch.float64), generator)
    tiles = F.unfold(images, 16, stride=16)  # [M,256,16]
    order = torch.rand(count, 1, 16, generator=generator).argsort(-1).expand_as(tiles)
    return F.fold(tiles.gather(-1, order), INPUT_SIDE, 16, stride=16)


def _patterns(count: int, generator: torch.Generator) -> Tensor:
    """Noise at all scales, half of it symmetric, with hard or soft edges: (M, 1, 64, 64)."""
    parts = [torch.zeros(0, 1, INPUT_SIDE, INPUT_SIDE)]
    for _ in range(count):
        side = int(torch.randint(2, 20, (), generator=generator))
        coarse = torch.rand(1, 1, side, side, generator=generator)
        if torch.rand((), generator=generator) < 0.5:
            coarse = (coarse + coarse.flip(-1)) / 2
        mode = "nearest" if torch.rand((), generator=generator) < 0.3 else "bicubic"
        parts.append(F.interpolate(coarse, (INPUT_SIDE, INPUT_SIDE), mode=mode))
    return torch.cat(parts)

"""The separable filter onto a grid, against one sum a sample in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gpen_pack.faces.geometry.filtering import WIDE, Axis, Filter, read_grid


def mirrored(k: int, length: int) -> int:
    while not 0 <= k < length:
        k = -1 - k if k < 0 else 2 * length - 1 - k
    return k


def kernel(x: float, shrinking: bool) -> float:
    x = abs(x)
    if shrinking:
        return float(np.sinc(x) * np.sinc(x / 3)) if x < 3 else 0.0
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def dense(axis: Axis, origin: int, length: int, stretch: float, shrinking: bool) -> np.ndarray:
    """[samples, length]: what every pixel contributes to every sample."""
    weights = axis.weights
    out = np.zeros((axis.blocks * weights.block, length))
    for i in range(len(out)):
        centre = origin + (i + 0.5) * weights.step
        reach = (3 if shrinking else 2) * stretch
        for k in range(math.floor(centre - reach) - 1, math.ceil(centre + reach) + 1):
            out[i, mirrored(k, length)] += kernel((k + 0.5 - centre) / stretch, shrinking)
    return out / out.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("height", "width"), [(61, 90), (97, 40), (7, 133), (1, 50)], ids=["wide", "tall", "flat", "one row"]
)
@pytest.mark.parametrize(
    ("stretch", "shrinking"), [(1.0, False), (1.3, True), (WIDE - 0.01, True), (WIDE, True), (5.12, True)]
)
def test_every_sample_is_its_sum(height: int, width: int, stretch: float, shrinking: bool) -> None:
    torch.manual_seed(height)
    picture = torch.rand(height, width, 3)
    weights = Filter(stretch, shrinking)
    blocks = math.ceil((width + 12) / weights.stride), math.ceil((height + 12) / weights.stride)
    across, down = Axis(weights, -5, blocks[0], width), Axis(weights, -7, blocks[1], height)
    assert across.mirrored, "the grid looks beyond the border"
    assert down.mirrored, "the grid looks beyond the border"
    grid = read_grid(picture, across, down)
    assert grid.shape == (3, across.blocks * weights.block, down.blocks * weights.block)
    expected = np.einsum(
        "xw,yh,hwc->cxy",
        dense(across, -5, width, stretch, shrinking),
        dense(down, -7, height, stretch, shrinking),
        picture.double().numpy(),
    )
    assert np.abs(grid.double().numpy() - expected).max() < 2e-6


@pytest.mark.parametrize("stretch", [1.5, 4.4])
def test_layouts_and_types(stretch: float) -> None:
    torch.manual_seed(0)
    base = torch.rand(151, 203, 4).half()  # every type below but bfloat16 holds these values exactly
    weights = Filter(stretch, True)
    blocks = 120 // weights.stride
    across, down = Axis(weights, 31, blocks, 203), Axis(weights, 11, blocks, 151)
    assert not across.mirrored
    assert across.inside
    expected = read_grid(base[:, :, :3].float().contiguous(), across, down)
    turned = base.float().transpose(0, 1).contiguous().transpose(0, 1)
    planar = base.float().permute(2, 0, 1).contiguous().permute(1, 2, 0)
    wider = torch.zeros(151, 240, 3)
    wider[:, 9:212] = base[:, :, :3]
    repeated = base[None].expand(2, -1, -1, -1)[1]
    for picture in (base, base.float(), base.double(), turned, planar, wider[:, 9:212], repeated):
        assert (read_grid(picture, across, down) - expected).abs().max() < 2e-6
    bf16 = base.bfloat16()
    assert (read_grid(bf16, across, down) - read_grid(bf16.float(), across, down)).abs().max() < 2e-6


def test_channels_do_not_mix() -> None:
    weights = Filter(4.2, True)
    axes = [Axis(weights, -9, 80 // weights.stride, 70) for _ in range(2)]
    for channel in range(3):
        picture = torch.zeros(70, 70, 3)
        picture[..., channel] = 1
        grid = read_grid(picture, *axes)
        assert torch.allclose(grid[channel], torch.ones(()), atol=1e-5)
        assert not grid[[c for c in range(3) if c != channel]].any()

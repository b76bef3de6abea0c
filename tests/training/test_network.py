"""Training's parts: the adversary, the start as a copy, growing, checkpoints, sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpen_pack.gpen_arch import GPEN, ConfigError, GPENConfig
from gpen_pack.training import losses
from gpen_pack.training.checkpoint import (
    CheckpointError,
    export_weights,
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from gpen_pack.training.discriminator import Discriminator, cut, minibatch_deviation, windows
from gpen_pack.training.initialise import compact_config, start_as_copy, take_over
from gpen_pack.training.sheets import write_sheet
from PIL import Image


@pytest.mark.parametrize("size", [8, 32])
def test_discriminator_learns_to_tell_noise_from_plain(size: int) -> None:
    torch.manual_seed(0)
    net = Discriminator(size, narrow=1 / 32)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.0, 0.99))
    for _ in range(60):
        plain, noise = torch.zeros(4, 3, size, size), torch.randn(4, 3, size, size)
        loss = losses.discriminator_adversarial(net(plain), net(noise))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5
    with pytest.raises(ValueError, match="power of two"):
        Discriminator(20)


def test_minibatch_deviation_tells_a_batch_of_twins() -> None:
    twins = torch.rand(1, 2, 4, 4).expand(4, -1, -1, -1)
    assert minibatch_deviation(twins)[:, -1].max() < 1e-3
    assert minibatch_deviation(torch.rand(4, 2, 4, 4))[:, -1].min() > 0.1
    assert minibatch_deviation(torch.rand(3, 2, 4, 4)).shape == (3, 3, 4, 4)


def test_windows_lie_inside_and_cut_what_they_say() -> None:
    corners = windows(torch.Generator().manual_seed(0), 50, 32, 16)
    assert all(0 <= y <= 16 and 0 <= x <= 16 for y, x in corners) and len(set(corners)) > 5
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(cut(x, [(3, 5), (0, 16)], 16)[1], x[1, :, :16, 16:])


@pytest.mark.parametrize("size", [32, 64])
def test_a_fresh_network_returns_its_input(size: int) -> None:
    net = GPEN(compact_config(size, 0.25, 1, 32, 2))
    start_as_copy(net, sharpen=(), residual=0)
    x = torch.rand(2, 3, size, size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(net(x), x, atol=1e-4, rtol=0)


def test_a_fresh_network_sharpens_and_keeps_plain_areas() -> None:
    net = GPEN(compact_config(64, 0.25, 1, 32, 2))
    start_as_copy(net, sharpen=(1.0, 0.5), residual=0)
    x = torch.full((1, 3, 64, 64), -0.5)
    x[:, 0, :, 32:] = 0.5
    with torch.no_grad():
        y = net(x)
    inside = (slice(None), slice(None), slice(24, 40))
    torch.testing.assert_close(y[inside][..., 16:18], x[inside][..., 16:18], atol=0.02, rtol=0)
    assert y[0, 0, 32, 32] > 0.6 and y[0, 0, 32, 31] < -0.6  # the edge overshoots on both sides


def test_small_weights_fill_the_lower_levels_of_a_larger_network() -> None:
    small = GPEN(compact_config(32, 1 / 32, 1, 16, 1))
    large = GPEN(compact_config(64, 1 / 32, 1, 16, 1))
    taken, missing = take_over(large, small.state_dict())
    assert torch.equal(large.get_parameter("ecd2.0.1.weight"), small.get_parameter("ecd1.0.1.weight"))
    assert torch.equal(
        large.get_parameter("generator.convs.4.conv.weight"), small.get_parameter("generator.convs.4.conv.weight")
    )
    assert taken > 40 and "generator.convs.6.conv.weight" in missing
    x = torch.rand(1, 3, 64, 64)
    assert large(x).shape == x.shape
    with pytest.raises(ConfigError, match="never shrink"):
        take_over(small, large.state_dict())
    with pytest.raises(ConfigError):
        take_over(small, {"other": torch.zeros(1)})


def test_exported_weights_load_strictly_and_are_half_precision(tmp_path: Path) -> None:
    net = GPEN(compact_config(32, 1 / 32, 1, 16, 1))
    path = tmp_path / "w.safetensors"
    export_weights(path, net.state_dict(), metadata={"license": "CC0-1.0"})
    weights = read_weights(path)
    again = GPEN(GPENConfig.from_state_dict(weights))
    again.load_state_dict(weights)
    assert path.stat().st_size < 2.5 * sum(p.numel() for p in net.state_dict().values()) + 20_000
    broken = {"w": torch.tensor([1e6])}
    with pytest.raises(CheckpointError, match="not finite"):
        export_weights(path, broken)


def test_checkpoints_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 3, "ema": {"w": torch.ones(2)}})
    assert load_checkpoint(path)["step"] == 3 and [p.name for p in tmp_path.iterdir()] == ["c.pt"]
    ours, average = (GPEN(compact_config(32, 1 / 32, 1, 16, 1)) for _ in range(2))
    save_checkpoint(path, {"net": ours.state_dict(), "ema": average.state_dict()})
    taken = read_weights(path)
    assert all(torch.equal(taken[key], value) for key, value in average.state_dict().items())
    torch.save({"w": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="expected a training checkpoint"):
        load_checkpoint(path)


def test_sheet_lays_columns_beside_rows(tmp_path: Path) -> None:
    black, white = torch.zeros(3, 3, 4, 4), torch.ones(3, 3, 4, 4)
    write_sheet(tmp_path / "s.png", [black, white], rows=2)
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert sheet.shape == (8, 8, 3) and sheet[:, :4].max() == 0 and sheet[:, 4:].min() == 255
    with pytest.raises(ValueError, match="one shape"):
        write_sheet(tmp_path / "s.png", [])

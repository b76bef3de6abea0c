"""load_gpen and restore: pixels, sizes, batches, invalid crops, and misleading file names."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import ModelFileError, Restorer, load_gpen
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from gpen_pack.tests.models.stand_ins import CONFIG, Constant, write_tiny


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models"))


def constant(value: float, size: int = 8, out: int = 8) -> TorchRestorer:
    config = GPENConfig(size, out, (4,) * (out.bit_length() - 2))
    return TorchRestorer(Constant(value, size, out), config)


def test_restore_is_the_network_between_two_ranges(path: Path) -> None:
    restorer = load_gpen(path)
    assert isinstance(restorer, Restorer)
    crops = torch.rand(3, 64, 64, 3)
    result = restorer.restore(crops)
    net = GPEN(CONFIG)
    net.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        expected = net(crops.permute(0, 3, 1, 2) * 2 - 1).clamp(-1, 1).permute(0, 2, 3, 1) / 2 + 0.5
    assert result.shape == (3, 64, 64, 3)
    assert result.dtype == torch.float32
    assert torch.allclose(result, expected, atol=1e-5)
    assert result.std() > 0.05
    assert result.min() >= 0
    assert result.max() <= 1


def test_what_it_says_about_itself(path: Path) -> None:
    restorer = load_gpen(path)
    assert restorer.config == CONFIG
    assert restorer.name == "tiny"
    assert restorer.path == path
    assert restorer.template == "gpen"
    assert restorer.dtype == torch.float32
    assert restorer.device == torch.device("cpu")
    assert restorer.provider == "torch cpu"
    assert restorer.precision == "fp32"
    assert restorer.warnings == ()
    assert not restorer.module.training
    assert not any(p.requires_grad for p in restorer.module.parameters())
    restorer.module.to("meta")
    assert restorer.device.type == "meta", "it is read from the module, which a host may move"


def test_any_size_comes_in(path: Path) -> None:
    restorer = load_gpen(path)
    for shape in ((1, 1, 1, 3), (2, 300, 170, 3), (1, 63, 64, 3)):
        assert restorer.restore(torch.rand(shape)).shape == (shape[0], 64, 64, 3)
    assert restorer.restore(torch.rand(0, 64, 64, 3)).shape == (0, 64, 64, 3)


def test_shrinking_is_antialiased_and_keeps_its_place() -> None:
    restorer = constant(0.0, size=16, out=16)
    stripes = torch.zeros(1, 128, 128, 3)
    stripes[:, :, ::2] = 1  # finer than the network's pixels: must become grey, not coarser stripes
    restorer.restore(stripes)
    assert restorer.module.seen[-1][..., 2:-2].abs().max() < 0.02
    ramp = (torch.arange(128) + 0.5).div(128).expand(1, 128, 128)[..., None].expand(-1, -1, -1, 3)
    restorer.restore(ramp)
    seen = (restorer.module.seen[-1][0, 0, 8] + 1) / 2
    expected = (torch.arange(16) + 0.5) / 16
    assert torch.allclose(seen[2:-2], expected[2:-2], atol=1e-4), "pixel centres must not shift"


def test_the_crops_are_left_alone(path: Path) -> None:
    crops = torch.rand(2, 64, 64, 3)
    before = crops.clone()
    load_gpen(path).restore(crops)
    assert torch.equal(crops, before)


def test_views_and_other_floats(path: Path) -> None:
    restorer = load_gpen(path)
    crops = torch.rand(2, 64, 64, 3)
    expected = restorer.restore(crops)
    strided = torch.stack([crops, crops], dim=-1)[..., 0]
    assert not strided.is_contiguous()
    assert torch.equal(restorer.restore(strided), expected)
    assert torch.allclose(restorer.restore(crops.double()), expected, atol=1e-5)
    half = restorer.restore(crops.half())
    assert half.dtype == torch.float32
    assert torch.allclose(half, expected, atol=0.02)


@pytest.mark.parametrize(
    ("crops", "said"),
    [
        (torch.rand(1, 8, 8, 4), "alpha"),
        (torch.rand(8, 8, 3), "batch of one"),
        (torch.rand(1, 3, 8, 8), "channels come last"),
        (torch.rand(1, 8, 8, 1), "(N,H,W,3)"),
        (torch.zeros(1, 8, 8, 3, dtype=torch.uint8), "/ 255"),
        (torch.zeros(1, 0, 8, 3), "at least one pixel"),
        (torch.full((1, 8, 8, 3), float("nan")), "crop 0 of 1"),
        (torch.full((1, 8, 8, 3), float("inf")), "NaN or infinite"),
    ],
)
def test_wrong_crops_are_explained(path: Path, crops: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match="crops: ") as caught:
        load_gpen(path).restore(crops)
    assert said in str(caught.value)


def test_something_else_than_a_tensor(path: Path) -> None:
    with pytest.raises(TypeError, match="list"):
        load_gpen(path).restore([1, 2, 3])


def test_values_are_clamped_on_both_sides() -> None:
    restorer = constant(3.0)
    result = restorer.restore(torch.tensor([-5.0, 0.5, 7.0]).expand(1, 8, 8, 3))
    assert torch.equal(result, torch.ones(1, 8, 8, 3))
    assert restorer.module.seen[0].min() == -1
    assert restorer.module.seen[0].max() == 1
    assert torch.equal(constant(-3.0).restore(torch.rand(1, 8, 8, 3)), torch.zeros(1, 8, 8, 3))


def test_batches_are_small_and_equal_singles(path: Path) -> None:
    restorer = constant(0.0)
    restorer.batch_size = 2
    restorer.restore(torch.rand(5, 8, 8, 3))
    assert [len(x) for x in restorer.module.seen] == [2, 2, 1]
    real = load_gpen(path)
    crops = torch.rand(5, 64, 64, 3)
    together = real.restore(crops)
    real.batch_size = 1
    assert torch.allclose(real.restore(crops), together, atol=1e-5)


def test_a_larger_output(tmp_path: Path) -> None:
    config = GPENConfig.standard(32, out_size=64, narrow=1 / 64, style_dim=16, mapping_layers=1)
    file = tmp_path / "sr.pth"
    torch.save(GPEN(config).state_dict(), file)
    restorer = load_gpen(file)
    assert (restorer.config.in_size, restorer.config.out_size) == (32, 64)
    crops = torch.rand(1, 50, 50, 3)
    assert restorer.restore(crops).shape == (1, 64, 64, 3)
    assert torch.equal(restorer.restore(crops), restorer.restore(crops))


# ---------------------------------------------------------------- misleading file names


def test_the_weights_decide_and_a_misleading_name_gives_a_warning(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    liar = tmp_path / "GPEN-BFR-2048.pth"
    liar.write_bytes(path.read_bytes())
    with caplog.at_level(logging.WARNING):
        restorer = load_gpen(liar)
    assert restorer.config.out_size == 64
    assert len(restorer.warnings) == 1
    assert "name says 2048" in restorer.warnings[0]
    assert "64 px" in restorer.warnings[0]
    assert restorer.warnings[0] in caplog.text


def test_weights_for_another_task_give_a_warning(tmp_path: Path, path: Path) -> None:
    file = tmp_path / "GPEN-Colorization.pth"
    file.write_bytes(path.read_bytes())
    assert "colouring" in load_gpen(file).warnings[0]


def test_a_missing_built_in_model_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gpen_pack.models import search

    monkeypatch.setattr(search, "BUILTIN_PATH", tmp_path / "gpen-compact-256.safetensors")
    with pytest.raises(ModelFileError, match="missing from this copy"):
        load_gpen("builtin")

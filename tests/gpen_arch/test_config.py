"""Hyperparameters are read from shapes alone; for other tensors the error names the keys."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, ConfigError, GPENConfig

ODD = {
    "8 px, the smallest": GPENConfig(8, 8, (3, 5), style_dim=7, mapping_layers=1),
    "64 px narrow": GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2),
    "channels that the authors' int() truncates": GPENConfig.standard(128, narrow=0.013, style_dim=9, mapping_layers=3),
    "no mapping": GPENConfig.standard(32, narrow=1 / 64, style_dim=16, mapping_layers=0),
    "twelve mapping layers": GPENConfig.standard(16, narrow=1 / 64, style_dim=5, mapping_layers=12),
    "multiplier 1": GPENConfig.standard(256, channel_multiplier=1, narrow=1 / 32, style_dim=32, mapping_layers=2),
    "added": GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2, concat=False),
    "SR": GPENConfig.standard(16, out_size=128, narrow=1 / 32, style_dim=24, mapping_layers=2),
    "SR, added": GPENConfig.standard(8, out_size=16, narrow=1 / 64, style_dim=8, mapping_layers=2, concat=False),
    "unequal levels": GPENConfig(64, 64, (4, 6, 3, 7, 2), style_dim=11, mapping_layers=2),
    "2048 px": GPENConfig.standard(2048, narrow=1 / 16, style_dim=16, mapping_layers=1),
}


def random_net(config: GPENConfig) -> GPEN:
    """A GPEN with every tensor random, including the biases and feature weights that start at zero."""
    net = GPEN(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net


@pytest.mark.parametrize("name", ODD)
def test_build_save_read_infer_round_trip(name: str, tmp_path: Path) -> None:
    """Build, save in both formats, read back: the same config and the same output."""
    safetensors = pytest.importorskip("safetensors.torch")
    config = ODD[name]
    net = random_net(config)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    safetensors.save_file(net.state_dict(), tmp_path / "net.safetensors")
    states = [
        torch.load(tmp_path / "net.pth", weights_only=True),
        safetensors.load_file(tmp_path / "net.safetensors"),
    ]
    x = torch.rand(1, 3, config.in_size, config.in_size) * 2 - 1
    with torch.no_grad():
        expected = net(x)
    assert expected.shape == (1, 3, config.out_size, config.out_size)
    assert torch.isfinite(expected).all()
    for state in states:
        assert GPENConfig.from_state_dict(state) == config
        again = GPEN(GPENConfig.from_state_dict(state))
        again.load_state_dict(state)
        with torch.no_grad():
            assert torch.equal(again(x), expected)


def test_display_properties() -> None:
    published = GPENConfig.standard(2048)
    assert (published.narrow, published.channel_multiplier) == (1, 2)
    assert published.channels == (512, 512, 512, 512, 512, 256, 128, 64, 32, 16)
    small = GPENConfig.standard(256, channel_multiplier=1, narrow=0.5)
    assert (small.narrow, small.channel_multiplier) == (0.5, 1)
    assert GPENConfig.standard(32).channel_multiplier is None


TINY = GPENConfig.standard(16, narrow=1 / 64, style_dim=8, mapping_layers=2)


def tiny_state() -> dict[str, torch.Tensor]:
    return dict(GPEN(TINY).state_dict())


def test_every_single_missing_key_is_named() -> None:
    for key in tiny_state():
        state = tiny_state()
        del state[key]
        with pytest.raises(ConfigError) as error:
            GPENConfig.from_state_dict(state)
        assert key in str(error.value), key


def test_extra_keys_are_named() -> None:
    with pytest.raises(ConfigError, match=r"discriminator\.weight not part of it"):
        GPENConfig.from_state_dict({**tiny_state(), "discriminator.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("generator.convs.2.conv.weight", (1, 8, 15, 3, 3)),
        ("ecd1.0.1.weight", (8, 8, 5, 5)),
        ("generator.style.2.weight", (8, 9)),
        ("generator.to_rgb1.bias", (1, 4, 1, 1)),
        ("final_linear.0.weight", (9, 128)),
        ("generator.noise", ()),
    ],
)
def test_a_contradicting_shape_is_named(key: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        GPENConfig.from_state_dict({**tiny_state(), key: torch.zeros(shape)})
    assert key.rsplit(".", 1)[0] in str(error.value) or "final_linear" in key


def test_wrong_number_of_dimensions_is_named() -> None:
    with pytest.raises(ConfigError, match=r"generator\.input\.input: expected 4 dimensions"):
        GPENConfig.from_state_dict({**tiny_state(), "generator.input.input": torch.zeros(8)})


def test_something_else_entirely() -> None:
    with pytest.raises(ConfigError, match="not a GPEN"):
        GPENConfig.from_state_dict({"conv_first.weight": torch.zeros(64, 3, 3, 3)})
    with pytest.raises(ConfigError, match="not a GPEN"):
        GPENConfig.from_state_dict({})


def test_strict_load_names_missing_and_extra_keys() -> None:
    net = GPEN(TINY)
    state = tiny_state()
    state["surplus"] = state.pop("generator.conv1.noise.weight")
    with pytest.raises(RuntimeError, match=r"(?s)generator\.conv1\.noise\.weight.*surplus"):
        net.load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((12, 12, (4, 4)), "power of two"),
        ((4, 4, (4,)), "power of two"),
        ((16, 8, (4, 4)), "at least in_size"),
        ((16, 16, (4, 4)), "expected 3"),
        ((16, 16, (4, 0, 4)), "at least 1"),
    ],
)
def test_impossible_configs_are_refused(arguments: tuple[int, int, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GPENConfig(*arguments)


def test_wrong_input_shape_is_said() -> None:
    net = GPEN(TINY)
    for shape in itertools.chain([(1, 3, 32, 32), (1, 4, 16, 16), (3, 16, 16)]):
        with pytest.raises(ValueError, match=r"expected \[N,3,16,16\], got"):
            net(torch.zeros(shape))

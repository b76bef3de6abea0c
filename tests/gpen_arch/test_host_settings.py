"""The default dtype, the default device and autocast of the host's program change nothing in the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, build_engine, level_noise

CONFIGS = {
    "GPEN": GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2),
    "SR, with noise": GPENConfig.standard(16, out_size=64, narrow=1 / 32, style_dim=24, mapping_layers=1),
}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


HOSTS = {
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype float16": lambda: default_dtype(torch.float16),
    "default device": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def weights(config: GPENConfig) -> dict[str, torch.Tensor]:
    net = GPEN(config)
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return net.state_dict()


@pytest.mark.parametrize("declined", [False, True], ids=["fast", "reference"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("host", HOSTS)
def test_an_engine_computes_the_same(host: str, name: str, dtype: torch.dtype | None, declined: bool) -> None:
    """Built and called within the setting, it gives the very same values as outside of it."""
    state = weights(CONFIGS[name])
    if declined:
        state["ecd1.0.0.kernel"][0] += 0.02
    size = CONFIGS[name].in_size
    x = torch.rand(1, 3, size, size) * 2 - 1
    outside = build_engine(state, dtype=dtype)
    expected = outside(x)
    with HOSTS[host]():
        inside = build_engine(state, dtype=dtype)
        results = (inside(x), outside(x))
    assert (inside.declined is not None) is declined
    assert {key: (value.dtype, value.device) for key, value in inside.state_dict().items()} == {
        key: (value.dtype, value.device) for key, value in outside.state_dict().items()
    }
    for result in results:
        assert result.dtype == torch.float32
        assert torch.equal(result, expected)


@pytest.mark.parametrize("host", ["default dtype float64", "default dtype float16"])
def test_the_reference_is_float32_as_its_files_are(host: str) -> None:
    config = CONFIGS["SR, with noise"]
    state = weights(config)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    net = GPEN(config)
    net.load_state_dict(state)
    with torch.no_grad():
        expected = net(x)
        with HOSTS[host]():
            inside = GPEN(config)
            inside.load_state_dict(state)
            assert {value.dtype for value in inside.state_dict().values()} == {torch.float32}
            assert torch.equal(inside(x), expected)
            assert level_noise(3, 8).dtype == torch.float32

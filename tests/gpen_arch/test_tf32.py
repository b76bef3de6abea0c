"""Whether TF32 may be used is decided per engine, by an argument of every convolution and never by a global flag."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig, build_engine, tf32
from gpen_pack.gpen_arch.fast import resampling
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

CONFIG = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2)
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}


class Operators(TorchDispatchMode):
    """Records the names of all operators, and the allow_tf32 argument of the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.allowed: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.names.add(name)
        if name == "_convolution":
            self.allowed.append(args[12])
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code path of float32 on CUDA, on the CPU."""
    monkeypatch.setattr(tf32, "_may_be_tf32", lambda x: x.dtype == torch.float32)
    monkeypatch.setattr(resampling, "merges_blurs", lambda device: True)
    monkeypatch.setattr(resampling, "alternates_rows", lambda device: False)


def weights(*, declined: bool = False) -> dict[str, torch.Tensor]:
    net = GPEN(CONFIG)
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    state = net.state_dict()
    if declined:
        state["ecd1.0.0.kernel"][0] += 0.02
    return state


def reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    net = GPEN(CONFIG)
    net.load_state_dict(state)
    with torch.no_grad():
        return net(x)


@pytest.mark.parametrize("declined", [False, True], ids=["fast", "reference"])
@pytest.mark.parametrize("dtype", [None, torch.float32], ids=["auto", "fp32"])
@pytest.mark.usefixtures("as_on_cuda")
def test_every_convolution_is_told(dtype: torch.dtype | None, declined: bool) -> None:
    state = weights(declined=declined)
    engine = build_engine(state, dtype=dtype)
    assert (engine.declined is not None) is declined
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with Operators() as seen:
        y = engine(x)
    assert "convolution" not in seen.names, "a convolution followed the global flag"
    levels = len(CONFIG.levels)
    assert seen.allowed.count(engine.tf32) >= 3 * levels - 3, "two per synthesis level and one per encoder level"
    assert engine.tf32 is (dtype is None)
    if dtype == torch.float32:
        assert not any(seen.allowed)
    expected = reference(state, x)
    assert (y - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("declined", [False, True], ids=["fast", "reference"])
@pytest.mark.usefixtures("as_on_cuda")
def test_no_product_follows_a_host_that_turned_tf32_on(declined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    state = weights(declined=declined)
    engine = build_engine(state, dtype=torch.float32)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with Operators() as seen:
        expected = engine(x)
    assert seen.names & PRODUCTS, "without the host's flag, plain products are faster"
    monkeypatch.setattr(tf32, "_products_follow_tf32", lambda x: x.dtype == torch.float32)
    with Operators() as seen:
        y = engine(x)
    assert not seen.names & PRODUCTS, "these would run in TF32"
    assert not any(seen.allowed)
    assert (y - expected).norm() / expected.norm() < 1e-5


def test_the_hosts_flag_is_read_as_pytorch_reads_it() -> None:
    x: Any = SimpleNamespace(device=torch.device("cuda:0"), dtype=torch.float32)
    before = torch.get_float32_matmul_precision()
    try:
        for precision, follows in (("highest", False), ("high", True)):
            torch.set_float32_matmul_precision(precision)
            assert tf32._products_follow_tf32(x) is follows
    finally:
        torch.set_float32_matmul_precision(before)
    for other in ({"dtype": torch.bfloat16}, {"device": torch.device("cpu")}):
        assert not tf32._products_follow_tf32(SimpleNamespace(**{**vars(x), **other}))  # pyright: ignore


@pytest.mark.usefixtures("as_on_cuda")
def test_convolutions_equal_pytorchs() -> None:
    x, weight, bias = torch.randn(2, 4, 9, 7), torch.randn(6, 4, 3, 3), torch.randn(6)
    options = {"stride": (2, 1), "padding": (0, 1)}
    assert torch.equal(tf32.conv2d(x, weight, bias, **options, tf32=True), F.conv2d(x, weight, bias, **options))
    depthwise = torch.randn(4, 1, 4, 1)
    assert torch.equal(tf32.conv2d(x, depthwise, groups=4, tf32=False), F.conv2d(x, depthwise, groups=4))
    up = torch.randn(4, 6, 3, 3)
    fast = tf32.conv_transpose2d(x, up, stride=(2, 2), padding=(1, 0), tf32=True)
    assert torch.equal(fast, F.conv_transpose2d(x, up, stride=2, padding=(1, 0)))


def test_products_without_tf32_equal_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf32, "_products_follow_tf32", lambda x: True)
    a, b, bias = torch.randn(2, 5, 7), torch.randn(2, 7, 3), torch.randn(3)
    assert torch.allclose(tf32.baddbmm(bias, a, b), torch.baddbmm(bias, a, b), atol=1e-5)
    assert torch.allclose(tf32.matmul(a[0], b[0]), a[0] @ b[0], atol=1e-5)
    weight = torch.randn(4, 7)
    assert torch.allclose(tf32.linear(a[0], weight), F.linear(a[0], weight), atol=1e-5)
    assert torch.allclose(tf32.linear(a[0], weight, bias[:1]), F.linear(a[0], weight) + bias[0], atol=1e-5)


def test_a_cpu_never_runs_tf32() -> None:
    assert not tf32.runs_tf32(torch.device("cpu"))

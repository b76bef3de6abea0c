"""Precisions that overflow, hosts' inference mode, threads, and the place where an engine comes in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, GPENConfig
from gpen_pack.models import RestoreError, load_gpen, loading
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from torch import nn

CONFIG = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2, channel_multiplier=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save(GPEN(CONFIG).state_dict(), file)
    return file


class Constant(nn.Module):
    """Gives its parameter for every pixel, and remembers what it was shown."""

    def __init__(self, value: float, size: int = 8) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.size = size
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return self.value.expand(len(x), 3, self.size, self.size)


# ---------------------------------------------------------------- precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions(path: Path, dtype: torch.dtype) -> None:
    half = load_gpen(path, dtype=dtype)
    assert half.dtype == dtype
    crops = torch.rand(1, 64, 64, 3)
    result, exact = half.restore(crops), load_gpen(path).restore(crops)
    assert result.dtype == torch.float32
    assert (result - exact).abs().mean() < 0.02
    assert not torch.equal(result, exact)


def test_nobody_gets_a_half_precision_unasked(path: Path) -> None:
    """A processor without bf16 computes it many times slower, and a half changes the result everywhere."""
    for runs_on in (None, "cuda", "mps"):
        restorer = load_gpen(path, runs_on=runs_on)
        assert restorer.dtype == torch.float32
        assert restorer.module is not None
        assert {p.dtype for p in restorer.module.parameters()} == {torch.float32}


def test_an_integer_precision_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="dtype"):
        load_gpen(path, dtype=torch.int8)


class Overflows(nn.Module):
    """Larger than float16 holds on the way, though not in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(300.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale * self.scale * self.scale / self.scale / self.scale / self.scale


def test_an_overflow_is_repeated_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    restorer = TorchRestorer(Overflows().half(), GPENConfig(8, 8, (4, 4)), dtype=torch.float16, name="tiny")
    crops = torch.rand(3, 8, 8, 3)
    with caplog.at_level(logging.WARNING):
        result = restorer.restore(crops)
    assert torch.allclose(result, crops, atol=1e-3)
    assert len(restorer.warnings) == 1
    assert "float16 overflowed" in restorer.warnings[0]
    assert restorer.warnings[0] in caplog.text
    assert next(restorer.module.parameters()).dtype == torch.float16, "the module itself stays as it was"


def test_a_host_may_lend_the_wide_network() -> None:
    told: list[object] = []

    @contextmanager
    def lend(faces: int) -> Iterator[nn.Module]:
        told.append(faces)
        yield Overflows()
        told.append("given back")

    restorer = TorchRestorer(Overflows().half(), GPENConfig(8, 8, (4, 4)), dtype=torch.float16)
    restorer.batch_size = 2
    restorer.widened = lend
    crops = torch.rand(3, 8, 8, 3)
    assert torch.allclose(restorer.restore(crops), crops, atol=1e-3)
    assert told == [2, "given back", 1, "given back"], "one loan a batch, none kept"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_face_that_is_not_finite_is_never_returned(dtype: torch.dtype) -> None:
    with pytest.raises(RestoreError, match="not finite"):
        module = Constant(float("nan")).to(dtype)
        TorchRestorer(module, GPENConfig(8, 8, (4, 4)), dtype=dtype).restore(torch.rand(1, 8, 8, 3))


# ---------------------------------------------------------------- hosts


def test_inference_mode_leaves_no_trace(path: Path) -> None:
    crops = torch.rand(1, 64, 64, 3)
    with torch.inference_mode():
        restorer = load_gpen(path)
        inside = restorer.restore(crops)
    assert not any(t.is_inference() for t in restorer.module.state_dict().values())
    outside = restorer.restore(crops)
    assert torch.equal(outside, inside)
    assert not outside.is_inference()
    outside.add_(1)  # an inference tensor, or one that remembers gradients, would refuse
    results: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: results.append(restorer.restore(crops)))
    thread.start()
    thread.join()
    assert torch.equal(results[0], inside)


def test_the_wide_network_comes_from_the_file_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_engine(state_dict: dict, config: GPENConfig, dtype: torch.dtype) -> nn.Module:
        engine = Constant(float("nan") if dtype == torch.float16 else 0.0, 64)
        engine.dtype = dtype  # it takes float32 whatever it computes in
        return engine

    monkeypatch.setattr(loading, "build_engine", build_engine)
    restorer = load_gpen(path, dtype=torch.float16)
    assert torch.equal(restorer.restore(torch.rand(2, 64, 64, 3)), torch.full((2, 64, 64, 3), 0.5))
    assert restorer.module.seen[0].dtype == torch.float32
    assert len(restorer.warnings) == 1


def test_an_engine_that_declined_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_engine(state_dict: dict, config: GPENConfig, dtype: torch.dtype) -> nn.Module:
        engine = Constant(0.0, 64)
        engine.declined = "the blur kernels are others"
        return engine

    monkeypatch.setattr(loading, "build_engine", build_engine)
    assert "the blur kernels are others" in load_gpen(path).warnings[0]


def test_the_widened_copy_may_be_used_outside_of_inference_mode() -> None:
    restorer = TorchRestorer(Overflows().half(), GPENConfig(8, 8, (4, 4)), dtype=torch.float16)
    with torch.inference_mode():
        restorer.restore(torch.rand(1, 8, 8, 3))
    assert restorer.restore(torch.rand(1, 8, 8, 3)).shape == (1, 8, 8, 3)


def test_two_threads_at_once(path: Path) -> None:
    restorer = load_gpen(path)
    crops = [torch.rand(1, 64, 64, 3) for _ in range(4)]
    expected = [restorer.restore(c) for c in crops]
    results: dict[int, torch.Tensor] = {}

    def work(index: int) -> None:
        for _ in range(3):
            results[index] = restorer.restore(crops[index])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.allclose(results[i], expected[i], atol=1e-6) for i in range(4))


def test_there_is_one_place_for_a_faster_engine(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build_engine(state_dict: dict, config: GPENConfig, dtype: torch.dtype) -> nn.Module:
        built.append((config, dtype))
        return Constant(0.0, 64)

    monkeypatch.setattr(loading, "build_engine", build_engine)
    assert torch.equal(load_gpen(path).restore(torch.rand(1, 64, 64, 3)), torch.full((1, 64, 64, 3), 0.5))
    assert built == [(CONFIG, torch.float32)]

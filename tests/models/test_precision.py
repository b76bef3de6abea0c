"""Precisions and their overflow, notices, the finiteness check, the host's settings, threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from gpen_pack.gpen_arch import GPEN, CheckCancel, GPENConfig, never_cancelled
from gpen_pack.models import RestoreError, load_gpen, loading
from gpen_pack.models.restorers import torch_restorer
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

CONFIG = GPENConfig.standard(64, narrow=1 / 32, style_dim=32, mapping_layers=2, channel_multiplier=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save(GPEN(CONFIG).state_dict(), file)
    return file


class Constant(nn.Module):
    """Gives its parameter for every pixel, and records its inputs."""

    def __init__(self, value: float, size: int = 8) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.size = size
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
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


def test_a_half_precision_has_to_be_asked_for(path: Path) -> None:
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
    """The identity, whose intermediate values overflow in float16 where ``x`` exceeds 0.0024."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, 1, 1, 1), 300.0))

    def forward(self, x: torch.Tensor, check_cancel: CheckCancel = never_cancelled) -> torch.Tensor:
        x = x.to(self.scale.dtype)
        return x * self.scale * self.scale * self.scale / self.scale / self.scale / self.scale


def test_an_overflow_is_repeated_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    restorer = TorchRestorer(Overflows().half(), GPENConfig(8, 8, (4, 4)), dtype=torch.float16, name="tiny")
    crops = torch.rand(3, 8, 8, 3)
    with caplog.at_level(logging.WARNING):
        result = restorer.restore(crops)
    assert torch.allclose(result, crops, atol=1e-3)
    assert "tiny: float16 overflowed on 3 face(s)" in caplog.text
    assert restorer.warnings == (), "a later run with this restorer must not report it"
    assert next(restorer.module.parameters()).dtype == torch.float16, "the module itself stays as it was"


def test_what_happens_in_a_call_is_told_to_this_call_only(caplog: pytest.LogCaptureFixture) -> None:
    restorer = TorchRestorer(Overflows().half(), GPENConfig(8, 8, (4, 4)), dtype=torch.float16, name="tiny")
    restorer.batch_size = 2
    told: list[tuple[str, dict[str, object]]] = []
    restorer.restore(torch.rand(3, 8, 8, 3), on_notice=lambda kind, values: told.append((kind, values)))
    values = {"model": "tiny", "dtype": "float16"}
    assert told == [("widened", {**values, "faces": 2}), ("widened", {**values, "faces": 1})]
    assert not caplog.records, "whoever listens decides what is said"
    fine: list[str] = []
    restorer.restore(torch.full((1, 8, 8, 3), 0.5), on_notice=lambda kind, values: fine.append(kind))
    assert not fine


def test_only_the_faces_that_overflow_are_repeated() -> None:
    """A face does not depend on what shares its batch."""
    repeated: list[int] = []

    @contextmanager
    def lend(faces: int) -> Iterator[nn.Module]:
        repeated.append(faces)
        yield Overflows()

    restorer = TorchRestorer(Overflows().half(), GPENConfig(8, 8, (4, 4)), dtype=torch.float16)
    restorer.batch_size = 4
    restorer.widened = lend
    fine = torch.full((1, 8, 8, 3), 0.5005)  # 0.001 in [-1,1], which float16 rounds
    crops = torch.cat([fine, torch.rand(1, 8, 8, 3), fine, torch.rand(1, 8, 8, 3)])
    alone = torch.cat([restorer.restore(crop[None]) for crop in crops])
    assert repeated == [1, 1]
    assert torch.equal(restorer.restore(crops), alone)
    assert repeated == [1, 1, 2]
    assert not torch.equal(alone[:1], fine), "float16 was used for it"


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
    assert told == [2, "given back", 1, "given back"], "one loan per batch, none kept"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_face_that_is_not_finite_is_never_returned(dtype: torch.dtype) -> None:
    with pytest.raises(RestoreError, match="not finite"):
        module = Constant(float("nan")).to(dtype)
        TorchRestorer(module, GPENConfig(8, 8, (4, 4)), dtype=dtype).restore(torch.rand(1, 8, 8, 3))


# ---------------------------------------------------------------- what really runs


@pytest.mark.parametrize(
    ("dtype", "on_cpu", "on_ampere"),
    [
        (None, "fp32", "tf32"),
        (torch.float32, "fp32", "fp32"),
        (torch.bfloat16, "bf16", "bf16"),
        (torch.float16, "fp16", "fp16"),
    ],
)
def test_the_precision_that_really_runs(
    path: Path, dtype: torch.dtype | None, on_cpu: str, on_ampere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = load_gpen(path, dtype=dtype)
    assert restorer.precision == on_cpu
    monkeypatch.setattr(torch_restorer, "runs_tf32", lambda device: True)
    assert restorer.precision == on_ampere


def test_another_module_is_assumed_to_follow_pytorchs_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_restorer, "runs_tf32", lambda device: True)
    assert TorchRestorer(Constant(0.0), GPENConfig(8, 8, (4, 4))).precision == "tf32"


# ---------------------------------------------------------------- finiteness


class HostReads(TorchDispatchMode):
    """Counts the values that are read back to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero"):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_one_value_per_batch_is_read_back(path: Path, dtype: torch.dtype | None) -> None:
    restorer = load_gpen(path, dtype=dtype)
    restorer.batch_size = 2
    crops = torch.rand(5, 70, 64, 3)
    with HostReads() as reads:
        restorer.restore(crops)
    assert reads.count == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_crop_is_named_by_its_number(value: float) -> None:
    """Infinity too, which clamping would hide from the network."""
    restorer = TorchRestorer(Constant(0.0), GPENConfig(8, 8, (4, 4)))
    restorer.batch_size = 2
    crops = torch.rand(5, 8, 8, 3)
    crops[3, 2, 1, 0] = value
    with pytest.raises(ValueError, match="crop 3 of 5"):
        restorer.restore(crops)
    opposite = torch.rand(1, 8, 8, 3)
    opposite[0, 0, 0, 0], opposite[0, 0, 0, 1] = value, -value
    with pytest.raises(ValueError, match="crop 0 of 1"):
        restorer.restore(opposite)


def test_finite_values_whose_sum_overflows_are_accepted() -> None:
    crops = torch.full((1, 8, 8, 3), 1e38)
    result = TorchRestorer(Constant(0.0), GPENConfig(8, 8, (4, 4))).restore(crops)
    assert torch.equal(result, torch.full((1, 8, 8, 3), 0.5))


def test_a_bad_crop_is_not_blamed_on_the_precision(path: Path) -> None:
    crops = torch.rand(1, 64, 64, 3)
    crops[0, 0, 0, 0] = float("nan")
    told: list[str] = []
    with pytest.raises(ValueError, match="NaN or infinite"):
        load_gpen(path, dtype=torch.float16).restore(crops, on_notice=lambda kind, values: told.append(kind))
    assert not told


# ---------------------------------------------------------------- hosts


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "setting",
    [
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.float16),
        lambda: default_device("meta"),
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
    ids=["default dtype float64", "default dtype float16", "default device", "autocast"],
)
def test_settings_of_the_host_change_nothing(
    path: Path, setting: Callable[[], AbstractContextManager[Any]], dtype: torch.dtype | None
) -> None:
    restorer = load_gpen(path, dtype=dtype)
    crops = torch.rand(1, 90, 80, 3)
    expected = restorer.restore(crops)
    with setting():
        result = restorer.restore(crops)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


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
    def build_engine(state_dict: dict, config: GPENConfig, dtype: torch.dtype | None) -> nn.Module:
        return Constant(float("nan") if dtype == torch.float16 else 0.0, 64)

    monkeypatch.setattr(loading, "build_engine", build_engine)
    restorer = load_gpen(path, dtype=torch.float16)
    assert torch.equal(restorer.restore(torch.rand(2, 64, 64, 3)), torch.full((2, 64, 64, 3), 0.5))
    assert restorer.module.seen[0].dtype == torch.float32


def test_an_engine_that_declined_gives_a_warning(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_engine_is_asked_for_what_the_caller_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build_engine(state_dict: dict, config: GPENConfig, dtype: torch.dtype) -> nn.Module:
        built.append((config, dtype))
        return Constant(0.0, 64)

    monkeypatch.setattr(loading, "build_engine", build_engine)
    assert torch.equal(load_gpen(path).restore(torch.rand(1, 64, 64, 3)), torch.full((1, 64, 64, 3), 0.5))
    assert load_gpen(path, dtype=torch.float32).dtype == torch.float32
    load_gpen(path, dtype=torch.bfloat16)
    assert built == [(CONFIG, None), (CONFIG, torch.float32), (CONFIG, torch.bfloat16)], "None may run in TF32"

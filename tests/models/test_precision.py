"""Precisions, what is reported of them, and faces that overflow."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from gpen_pack.gpen_arch import GPENConfig
from gpen_pack.models import load_gpen, loading
from gpen_pack.models.restorers import onnx_restorer, torch_restorer
from gpen_pack.models.restorers.torch_restorer import TorchRestorer
from gpen_pack.tests.models.stand_ins import CONFIG, Constant, Overflows, write_tiny
from torch import nn


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models"))


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


@pytest.mark.parametrize(
    ("option", "ampere", "precision"), [("1", True, "tf32"), ("0", True, "fp32"), ("1", False, "fp32")]
)
def test_the_precision_of_a_session(option: str, ampere: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime allows TF32 by an option of its CUDA provider."""

    class Session:
        def get_provider_options(self) -> dict[str, dict[str, str]]:
            return {"CUDAExecutionProvider": {"use_tf32": option}, "CPUExecutionProvider": {}}

    monkeypatch.setattr(onnx_restorer, "runs_tf32", lambda device: ampere)
    restorer = object.__new__(onnx_restorer.OnnxRestorer)
    restorer._session, restorer.dtype, restorer.device = Session(), torch.float32, torch.device("cuda:0")
    assert restorer.precision == precision
    restorer.dtype = torch.float16
    assert restorer.precision == "fp16"


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

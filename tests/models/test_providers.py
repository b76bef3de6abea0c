"""Sessions: the provider of the wanted device with its options, threads that do not spin, a fallback that is told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from gpen_pack.models.restorers.providers import CPU, open_session, providers_for

onnxruntime = pytest.importorskip("onnxruntime")
CUDA, DML, COREML, OPENVINO = (f"{name}ExecutionProvider" for name in ("CUDA", "Dml", "CoreML", "OpenVINO"))


def asked(device: str, *available: str, varied_shapes: bool = False) -> list[Any]:
    return providers_for(torch.device(device), [*available, CPU], varied_shapes=varied_shapes)


def test_the_cpu_is_the_cpu_whatever_is_installed() -> None:
    assert asked("cpu", CUDA, DML, COREML, OPENVINO) == [CPU]
    assert asked("cuda") == [CPU] and asked("mps", CUDA) == [CPU]


def test_cuda_gets_its_index_and_its_options() -> None:
    (name, options), behind = asked("cuda:1", DML, CUDA)
    assert (name, behind) == (CUDA, CPU)
    assert options == {
        "device_id": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    assert "device_id" not in asked("cuda", CUDA)[0][1]
    assert asked("privateuseone:2", DML) == [(DML, {"device_id": "2"}), CPU]
    assert asked("xpu:1", OPENVINO) == [(OPENVINO, {"device_type": "GPU.1"}), CPU]


def test_providers_that_compile_per_shape_are_for_fixed_shapes() -> None:
    assert asked("mps", COREML) == [COREML, CPU] and asked("mps", COREML, varied_shapes=True) == [CPU]
    assert asked("xpu", OPENVINO, DML, varied_shapes=True) == [DML, CPU]


def test_threads_do_not_spin_and_a_provider_that_fails_is_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[Any] = []

    def session(path: str, options: Any, *, providers: list[Any], enable_fallback: int) -> str:
        calls.append((options.get_session_config_entry("session.intra_op.allow_spinning"), providers))
        if providers != [CPU]:
            raise RuntimeError("no such GPU")
        return "session"

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with caplog.at_level(logging.WARNING):
        assert open_session(tmp_path / "x.onnx", torch.device("cuda:7")) == ("session", [CUDA, CPU])
    assert [spins for spins, _ in calls] == ["0", "0"]
    assert calls[0][1][0][1]["device_id"] == "7" and calls[1][1] == [CPU]
    assert "x.onnx" in caplog.text and "no such GPU" in caplog.text and capsys.readouterr().out == ""

"""The memory manager, the way down when memory runs out, and detector sessions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch


def test_loader_wraps_the_network_for_the_memory_manager(
    host: Any, nodes: Any, model_file: str, run: Any, load: Any, tiny: Any
) -> None:
    model = load(nodes, model_file)
    assert model.restorer.config == tiny
    assert model.patcher.model is model.restorer.module
    assert not any(parameter.is_inference() for parameter in model.restorer.module.parameters())
    run(nodes["GPENFaceRestore"], gpen_model=model, crops=torch.rand(1, 64, 64, 3))
    assert host.loaded and host.loaded[0][0] is model.patcher and host.loaded[0][1] > 0


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_an_onnx_file_is_in_the_memory_managers_keeping_as_any_other(
    host: Any, nodes: Any, model_file: str, run: Any, load: Any, tiny: Any
) -> None:
    pytest.importorskip("onnx")
    from gpen_pack.gpen_arch import GPEN
    from gpen_pack.tests.models.onnx.onnx_spellings import export

    folder = Path(host.models_dir) / "gpen"
    net = GPEN(tiny).eval()
    net.load_state_dict(torch.load(folder / model_file))
    export(net, folder / "graph.onnx")
    model, plain = load(nodes, "graph.onnx"), load(nodes, model_file)
    assert model.restorer.config == tiny and model.restorer.warnings == ()
    assert model.patcher.model is model.restorer.module
    crops = torch.rand(1, 64, 64, 3)
    result, expected = (run(nodes["GPENFaceRestore"], gpen_model=m, crops=crops)[0] for m in (model, plain))
    assert host.loaded[0][0] is model.patcher
    assert torch.allclose(result, expected, atol=1e-5)


def test_detector_sessions_are_shared_and_let_go(host: Any, nodes: Any) -> None:
    import gc

    from gpen_pack.nodes import detector_sessions as real

    first, second = nodes["GPENFaceDetect"](), nodes["GPENRestoreImage"]()
    detector = real.load_detector("auto", keeper=first)
    assert real.load_detector("auto", keeper=second) is detector
    assert len(real._sessions) == 1
    del detector, first, second
    gc.collect()
    assert len(real._sessions) == 0


def test_a_detector_that_is_gone_stops_nobody(
    host: Any, nodes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpen_pack.nodes import detector_sessions

    files = [SimpleNamespace(kind="insightface", path=tmp_path / "unplugged" / "det_10g.onnx")]
    monkeypatch.setattr(detector_sessions, "detector_files", lambda folders: files)
    assert detector_sessions.load_detector("auto", keeper=nodes["GPENFaceDetect"]()).name == "squares"


def test_a_new_detector_file_makes_a_new_session(
    host: Any, nodes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpen_pack.nodes import detector_sessions

    files: list[Any] = []
    monkeypatch.setattr(detector_sessions, "detector_files", lambda folders: files)
    node = nodes["GPENRestoreImage"]()
    before = detector_sessions.load_detector("auto", keeper=node)
    builtin = detector_sessions.load_detector("builtin", keeper=nodes["GPENFaceDetect"]())
    (tmp_path / "yunet.onnx").write_bytes(b"x")
    files.append(SimpleNamespace(kind="yunet", path=tmp_path / "yunet.onnx"))
    assert detector_sessions.load_detector("insightface", keeper=nodes["GPENFaceDetect"]()) is not before
    assert detector_sessions.load_detector("auto", keeper=node) is not before
    assert builtin is not before


def test_memory_fallbacks_follow_what_was_asked_for(host: Any, nodes: Any, model_file: str, run: Any) -> None:
    def names(precision: str, place: str = "cuda", **more: Any) -> list[str]:
        model = run(nodes["GPENModelLoader"], model_name=model_file, precision=precision, **more)[0]
        model.patcher.load_device = torch.device(place)  # where it would run on a machine with a GPU
        return [step.name for step in model.fallbacks()]

    assert names("auto") == ["in bf16"]
    assert names("fp32") == [], "a precision that was asked for is kept"
    assert names("auto", cpu_fallback=True) == ["in bf16", "on the CPU"]
    assert names("bf16", cpu_fallback=True) == ["on the CPU"]
    assert names("auto", "cpu", cpu_fallback=True) == [], "bf16 saves little on a CPU and may be slow there"
    host.bf16 = False
    assert names("auto", cpu_fallback=True) == ["on the CPU"], "no bf16 where the device has none"


def test_out_of_memory_goes_down_to_the_cpu_and_says_so(
    host: Any, nodes: Any, model_file: str, monkeypatch: pytest.MonkeyPatch, picture: Any, run: Any
) -> None:
    model = run(nodes["GPENModelLoader"], model_name=model_file, cpu_fallback=True)[0]
    monkeypatch.setattr(model, "bring_to_device", lambda needed: None)
    model.patcher.load_device = torch.device("cuda")

    def fails(crops: torch.Tensor, check_cancel: object = None) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.restorer, "restore", fails)
    from gpen_pack.nodes import gpen_model

    read = gpen_model.read_model

    def also_fails_in_bf16(*args: Any, **more: Any) -> Any:
        made = read(*args, **{**more, "on_cpu": True})
        if args[1] == "bf16":
            monkeypatch.setattr(made.restorer, "restore", fails)
        return made

    monkeypatch.setattr(gpen_model, "read_model", also_fails_in_bf16)
    image, _, report = run(nodes["GPENRestoreImage"], gpen_model=model, image=picture(), fidelity=0.0)
    assert "went on in bf16" in report and "went on on the CPU" in report and "1 restored" in report
    assert (image - picture()).abs().amax() > 0.05
    again = run(nodes["GPENRestoreImage"], gpen_model=model, image=picture(), fidelity=0.0)[2]
    assert "went on on the CPU" in again, "every run starts at the top"

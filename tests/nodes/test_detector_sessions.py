"""Detector sessions run where ComfyUI computes, and ask it for room first."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch


class Sees:
    name, provider = "insightface", "test"


def test_a_session_goes_where_comfyui_computes_after_it_made_room(
    host: Any, nodes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpen_pack.nodes import detector_sessions

    events: list[Any] = []
    files = [SimpleNamespace(kind="insightface", path=tmp_path / "det_10g.onnx")]
    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("cuda", 1))
    monkeypatch.setattr(management, "free_memory", lambda size, device: events.append((size, device)), raising=False)
    monkeypatch.setattr(detector_sessions, "detector_files", lambda folders: files)

    def load(name: str, folders: Any, device: torch.device) -> Sees:
        events.append((name, device))
        return Sees()

    monkeypatch.setattr(detector_sessions, "load_session", load)
    node = nodes["GPENFaceDetect"]()
    detector = detector_sessions.load_detector("insightface", keeper=node)
    room, loaded = events
    assert room[0] >= 1 << 28 and room[1] == torch.device("cuda", 1)
    assert loaded == ("insightface", torch.device("cuda", 1))
    assert detector_sessions.load_detector("insightface", keeper=node) is detector and len(events) == 2
    files[:] = [SimpleNamespace(kind="yunet", path=tmp_path / "yunet.onnx")]
    detector_sessions.load_detector("yunet", keeper=node)
    assert events[2:] == [("yunet", torch.device("cuda", 1))], "YuNet and the built-in detector take no GPU memory"
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("cpu"))
    assert detector_sessions.load_detector("yunet", keeper=node)
    assert events[3:] == [("yunet", torch.device("cpu"))], "another device, another session, no room asked for"


def test_the_signature_of_a_choice_changes_with_its_files(
    host: Any, nodes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpen_pack.nodes import detector_sessions

    scrfd, yunet = tmp_path / "det_10g.onnx", tmp_path / "yunet.onnx"
    files = [SimpleNamespace(kind="yunet", path=yunet)]
    monkeypatch.setattr(detector_sessions, "detector_files", lambda folders: files)
    signature = detector_sessions.detector_signature
    yunet.write_bytes(b"12")
    before = {name: signature(name) for name in ("auto", "insightface", "yunet", "builtin")}
    assert before["yunet"] == before["auto"] == ((str(yunet), 2, yunet.stat().st_mtime_ns),)
    assert before["insightface"] == before["builtin"] == ()
    scrfd.write_bytes(b"1")
    files.insert(0, SimpleNamespace(kind="insightface", path=scrfd))
    assert signature("yunet") == before["yunet"] and signature("auto") == signature("insightface") + before["yunet"]
    yunet.write_bytes(b"123")
    assert signature("yunet") != before["yunet"]
    yunet.unlink()
    assert signature("yunet") == ((str(yunet), 0, 0),)

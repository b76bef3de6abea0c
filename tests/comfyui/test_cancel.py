"""Progress and Cancel on a real server: the bar moves, the face shows, and Cancel stops within one face."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.comfyui


class Line:
    """The page's websocket, and what came through it for one graph."""

    def __init__(self, server: Any) -> None:
        websocket = pytest.importorskip("websocket", reason="needs websocket-client")
        self.client = uuid.uuid4().hex
        self.line = websocket.create_connection(f"ws://{server.address}/ws?clientId={self.client}", timeout=120)

    def next(self) -> bytes | dict[str, Any]:
        told = self.line.recv()
        return told if isinstance(told, bytes) else json.loads(told)

    def wait_for(self, kind: str, prompt: str, node: str) -> dict[str, Any]:
        """The next message of this kind about this node of this graph; what is left of other graphs is passed over."""
        while True:
            told = self.next()
            if isinstance(told, dict) and told["type"] == kind:
                data = told["data"]
                if data.get("prompt_id") == prompt and str(data.get("node")) == node:
                    return data


@pytest.fixture
def line(comfyui: Any) -> Iterator[Line]:
    made = Line(comfyui)
    yield made
    made.line.close()


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def graph(photo: str, model: str, frames: int, **more: Any) -> dict[str, Any]:
    inputs = {
        "detector": "builtin", "threshold": 0.6, "select": "all", "order": "large-small", "min_face_px": 16,
        "template": "gpen", "fidelity": 0.2, "blend_mode": "linear", "color_match": "none", "feather": 0.1,
        "mask_shape": "face", "scale": 1.0, **more,
    }  # fmt: skip
    options = {"precision": "auto", "device": "auto", "cpu_fallback": False}
    return {
        "1": node("LoadImage", image=photo),
        "2": node("GPENModelLoader", model_name=model, **options),
        "7": node("TestMovingFrames", image=["1", 0], frames=frames),
        "3": node("GPENRestoreImage", image=["7", 0], gpen_model=["2", 0], **inputs),
        "4": node("SaveImage", images=["3", 0], filename_prefix="cancel"),
    }


def kinds_of(entry: dict[str, Any]) -> list[str]:
    return [kind for kind, _ in entry["status"]["messages"]]


def cancel(comfyui: Any, prompt: str) -> float:
    """Press Cancel; seconds until the graph had ended."""
    start = time.monotonic()
    comfyui.post("/interrupt", {})
    entry = comfyui.wait(prompt)
    assert "execution_interrupted" in kinds_of(entry) and "execution_error" not in kinds_of(entry)
    return time.monotonic() - start


def test_progress_moves_and_shows_the_face(comfyui: Any, line: Line, photo: str) -> None:
    prompt = comfyui.queue(graph(photo, "tiny.safetensors", 12), line.client)
    values: list[int] = []
    preview = b""
    while not preview:
        told = line.next()
        if isinstance(told, bytes):
            preview = told
        elif told["type"] == "progress" and told["data"]["node"] == "3":
            values.append(told["data"]["value"])
    assert b"\xff\xd8\xff" in preview, "the preview is a JPEG of the face"
    assert values == sorted(values) and len(values) > 3, "the bar moves while faces are looked for"
    comfyui.wait(prompt)


def test_cancel_while_faces_are_looked_for(comfyui: Any, line: Line, photo: str) -> None:
    prompt = comfyui.queue(graph(photo, "tiny.safetensors", 200, fidelity=0.3), line.client)
    line.wait_for("progress", prompt, "3")
    assert cancel(comfyui, prompt) < 60, "two hundred frames went on"
    assert comfyui.run(graph(photo, "tiny.safetensors", 1, fidelity=0.4))["4"]["images"]


def test_cancel_within_one_face(comfyui: Any, line: Line, photo: str, large_model: str) -> None:
    """The face alone takes many times longer than Cancel may, and the next run is as if nothing had been."""
    one = graph(photo, large_model, 1)
    start = time.monotonic()
    before = comfyui.picture(comfyui.run(one)["4"]["images"][0])
    whole = time.monotonic() - start
    prompt = comfyui.queue(graph(photo, large_model, 1, fidelity=0.31), line.client)
    while line.wait_for("progress", prompt, "3")["value"] < 300:  # of a thousand: the face has been found
        pass
    time.sleep(0.3)
    seconds = cancel(comfyui, prompt)
    assert seconds < whole / 2, f"stopped after {seconds:.1f} s where the whole graph takes {whole:.1f} s"
    again = graph(photo, large_model, 1, min_face_px=17)  # another number, lest ComfyUI answer from its cache
    after = comfyui.picture(comfyui.run(again)["4"]["images"][0])
    assert (before == after).all()


@pytest.fixture(scope="module")
def large_model(comfyui: Any) -> str:
    """A 1024 px network with random weights, whose one face takes seconds on a CPU."""
    import torch
    from gpen_pack.gpen_arch import GPEN, GPENConfig
    from safetensors.torch import save_file

    torch.manual_seed(2)
    net = GPEN(GPENConfig.standard(1024, narrow=0.5, style_dim=64, mapping_layers=2))
    weights = {key: value.contiguous() for key, value in net.state_dict().items()}
    save_file(weights, comfyui.base / "models/gpen" / "large.safetensors")
    return "large.safetensors"

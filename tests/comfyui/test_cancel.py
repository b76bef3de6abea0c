"""Progress and Cancel on a real server: the bar moves, the face shows, and Cancel stops within one face."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gpen_pack.tests.comfyui.graphs import TINY, left_after_freeing, node, restore_graph, step_by_step
from PIL import Image

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

    def until_the_end(self, prompt: str, node: str) -> tuple[list[tuple[int, int]], list[Image.Image]]:
        """Of this node of this graph: the (value, max) of its bar, and its previews."""
        bar: list[tuple[int, int]] = []
        previews: list[Image.Image] = []
        running = ""
        while True:
            told = self.next()
            if isinstance(told, bytes):
                if running == node:
                    previews.append(Image.open(io.BytesIO(told[told.index(b"\xff\xd8\xff") :])))
                continue
            data = told["data"]
            if data.get("prompt_id") != prompt:
                continue
            if told["type"] == "executing":
                if data["node"] is None:
                    return bar, previews
                running = data["node"]
            elif told["type"] == "progress" and data["node"] == node:
                bar.append((data["value"], data["max"]))
            assert told["type"] != "execution_error", data


@pytest.fixture
def line(comfyui: Any) -> Iterator[Line]:
    made = Line(comfyui)
    yield made
    made.line.close()


def graph(photo: str, model: str, frames: int, **more: Any) -> dict[str, Any]:
    made = restore_graph(photo, model, image=["7", 0], **more)
    made["7"] = node("TestMovingFrames", image=["1", 0], frames=frames)
    del made["5"]
    return made


def kinds_of(entry: dict[str, Any]) -> list[str]:
    return [kind for kind, _ in entry["status"]["messages"]]


def cancel(comfyui: Any, prompt: str) -> float:
    """Press Cancel; seconds until the graph had ended."""
    start = time.monotonic()
    comfyui.post("/interrupt", {})
    entry = comfyui.wait(prompt)
    assert "execution_interrupted" in kinds_of(entry) and "execution_error" not in kinds_of(entry)
    return time.monotonic() - start


def test_the_bar_runs_over_all_frames_and_every_face_shows(comfyui: Any, line: Line, photo: str) -> None:
    prompt = comfyui.queue(graph(photo, TINY, 12), line.client)
    values, previews = line.until_the_end(prompt, "3")
    done = [value for value, _ in values]
    assert done == sorted(done) and len(set(done)) >= 24, "the bar moves with every frame looked at and every face"
    assert values[-1][0] == values[-1][1], "the bar stopped short"
    assert len(previews) >= 12, "one face a frame, each shown as soon as it was restored"


def test_the_preview_is_the_face_just_restored(comfyui: Any, line: Line, photo: str) -> None:
    steps = step_by_step(photo)
    steps["9"] = node("RepeatImageBatch", image=["3", 0], amount=20)  # more faces than go through at once
    steps["6"]["inputs"]["crops"] = ["9", 0]
    steps["8"] = node("SaveImage", images=["6", 0], filename_prefix="face")
    del steps["7"], steps["4"], steps["5"]
    prompt = comfyui.queue(steps, line.client)
    _, previews = line.until_the_end(prompt, "6")
    restored = comfyui.picture(comfyui.wait(prompt)["outputs"]["8"]["images"][0])
    shown = previews[0].resize((restored.shape[1], restored.shape[0]), Image.Resampling.BOX)
    off = np.abs(np.asarray(shown.convert("RGB"), dtype=float) - restored).mean()
    assert off < 6, f"the preview is another picture than the restored face: {off:.1f} levels"
    assert previews[-1].size == (1024, 1104), "the pairs before and after come last"


def test_cancel_while_faces_are_looked_for(comfyui: Any, line: Line, photo: str) -> None:
    prompt = comfyui.queue(graph(photo, TINY, 200, fidelity=0.3), line.client)
    line.wait_for("progress", prompt, "3")
    assert cancel(comfyui, prompt) < 60, "two hundred frames went on"
    assert comfyui.run(graph(photo, TINY, 1, fidelity=0.4))["4"]["images"]


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
    prompt = comfyui.queue(graph(photo, large_model, 1, fidelity=0.32), line.client)
    line.wait_for("progress", prompt, "3")
    cancel(comfyui, prompt)
    assert left_after_freeing(comfyui) == "0 networks, 0 sessions"


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
